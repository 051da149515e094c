import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import * as v from 'valibot'
import { files } from '#platform'
import { FileError, UserError } from '../../engine/base/errors.ts'
import { count, fields, mapOf, parseJson, text } from '../../engine/base/json.ts'
import type { ModelConfig } from '../../model/index.ts'
import { sha256Of } from '../data/checksum.ts'
import type { Dataset } from '../data/datasets.ts'
import { RESUMABLE, type Settings } from '../settings.ts'
import type { SavedRun } from './checkpoint.ts'
import { FORMAT } from './format.ts'
import { checkFormat } from './jsonFile.ts'

/** Bytes of the longest settings.json. */
const MAX_BYTES = 1 << 24

/** The content of settings.json: the settings of a run, its model and its data. */
export interface RunSettings {
  format: number
  settings: Settings
  model: ModelConfig
  dataset: {
    name: string
    /** Images of the data set, of which the settings may use fewer. */
    trainImages: number
    testImages: number
    /** Checksums of its files by their names, or of all files of a class by the class. */
    sha256: Record<string, string>
  }
  /** The checkpoint whose parameters the run began with. */
  initFrom?: string | undefined
}

const FILE = fields({
  format: count,
  settings: mapOf(v.unknown()),
  model: mapOf(v.unknown()),
  dataset: fields({ name: text, trainImages: count, testImages: count, sha256: mapOf(text) }),
  initFrom: v.optional(text),
})

/** The parts of a run from which `writeSettings` makes settings.json. */
export interface RunInput {
  settings: Settings
  config: ModelConfig
  dataset: Dataset
  initFrom?: string | undefined
}

/**
 * Writes settings.json, atomically. A run that resumes writes it only where something has changed.
 * @param orSay is called, instead of an error, when the file of a run that resumes cannot be written
 * @throws FileError when the file of a new run cannot be written; UserError when a file of the data set cannot be read
 */
export async function writeSettings(path: string, run: RunInput, orSay?: (text: string) => void): Promise<void> {
  const before = orSay && existsSync(path) ? await readSettings(path) : undefined
  const { settings, config: model, dataset } = run
  const { name, train, test } = dataset
  const initFrom = run.initFrom ?? before?.initFrom
  const sha256 = await checksums(dataset)
  const described = { name, trainImages: train.count, testImages: test.count, sha256 }
  const content: RunSettings = { format: FORMAT, settings, model, dataset: described, initFrom }
  const json = `${JSON.stringify(content, undefined, 2)}\n`
  if (before && JSON.stringify(before) === JSON.stringify(content)) return
  try {
    await files.write(path, json)
  } catch (error) {
    if (!orSay || !(error instanceof FileError)) throw error
    orSay(error.message)
  }
}

/** Reads settings.json. @throws UserError in one line for a file that is malformed, or of a newer format */
export async function readSettings(path: string): Promise<RunSettings> {
  const json = new TextDecoder().decode(await files.read(path, MAX_BYTES))
  checkFormat(json, path)
  return parseJson(FILE, json, path) as unknown as RunSettings
}

/**
 * Checks that the settings.json of a run to resume agrees with its checkpoint, and its data set with the files that are read now. A run
 * of a former version has no such file.
 * @throws UserError in one line that names what differs
 */
export async function checkAgreement(path: string, { checkpoint, state }: SavedRun, dataset: Dataset): Promise<void> {
  if (!existsSync(path)) return
  const found = await readSettings(path)
  const differs = (what: string, here: unknown, there: unknown) =>
    new UserError(
      `${path}: ${what} is ${JSON.stringify(here)}, in ${checkpoint.path} it is ${JSON.stringify(there)}; use the files of one run`,
    )
  const compare = (kind: string, here: object, there: object, leaving: readonly string[]) => {
    const [inFile, inCheckpoint] = [here, there] as Record<string, unknown>[]
    for (const name of new Set([...Object.keys(inFile!), ...Object.keys(inCheckpoint!)])) {
      if (leaving.includes(name) || JSON.stringify(inFile![name]) === JSON.stringify(inCheckpoint![name])) continue
      throw differs(`${kind}.${name}`, inFile![name], inCheckpoint![name])
    }
  }
  compare('settings', found.settings, state.settings, RESUMABLE)
  compare('model', found.model, checkpoint.config, [])
  const changed = (what: string) => new UserError(`${path}: the run began with ${what}; use the data that it began with`)
  for (const [split, before] of [
    ['train', found.dataset.trainImages],
    ['test', found.dataset.testImages],
  ] as const) {
    const { count } = dataset[split]
    if (dataset.own && count !== before) throw changed(`${before} ${split} images, and there are ${count} now`)
  }
  const sums = await checksums(dataset)
  for (const [name, sum] of Object.entries(found.dataset.sha256)) {
    if (sums[name] === undefined || sums[name] === sum) continue
    throw changed(dataset.sha256 ? `other images of the class ${name}` : `another file ${name} of ${dataset.name}`)
  }
}

/** Returns the checksums of a data set, those of its files by their names. */
async function checksums({ files = [], sha256 }: Dataset): Promise<Record<string, string>> {
  if (sha256) return sha256
  const sums = await Promise.all(files.map(async (path) => [basename(path), await sha256Of(path)] as const))
  return Object.fromEntries(sums)
}
