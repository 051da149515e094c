import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import * as v from 'valibot'
import { reason } from '../../../engine/base/errors.ts'
import { accepted, count, fields, mapOf, parseJson, text } from '../../../engine/base/json.ts'
import { branchShape } from '../../../model/index.ts'
import { openSafetensors } from '../../checkpoint/files.ts'
import { RUN_RECORD, type RunRecord } from '../../run/record.ts'
import { type RunSettings, readSettings } from '../../run/settingsFile.ts'
import { readAttention } from './attention.ts'
import { readCompression } from './compression.ts'
import { readExpansion } from './expansion.ts'
import { type Note, orNote, readJson } from './files.ts'
import { readMetrics } from './metricsFile.ts'
import { configOf, type Run } from './record.ts'

/** Settings of a run as any version wrote them, with its model and data set where they are known. */
interface SavedSettings {
  settings: Readonly<Record<string, unknown>>
  model?: unknown
  dataset?: Pick<RunSettings['dataset'], 'name' | 'testImages'>
}

/** Files of a training run, one of which at least is there. */
const TRAINED = ['metrics.jsonl', 'run.json', 'settings.json']

/** Files of the commands that work on a trained model; they may lie in a folder of their own. */
const RESULTS = ['compression.json', 'expansion.json']

const holds = (path: string, names: readonly string[]) => names.some((name) => existsSync(join(path, name)))

/** Whether a folder holds the files of a training run, or of a command that works on a trained model. */
export function isRunFolder(path: string): boolean {
  return holds(path, TRAINED) || holds(path, RESULTS)
}

/**
 * Reads a run folder. What is missing or malformed in it is noted and left out.
 * @throws UserError in one line when a file of it was written by a newer version, or cannot be read
 */
export async function readRunFolder(path: string, note: Note): Promise<Run> {
  const trained = holds(path, TRAINED)
  const file = join(path, 'settings.json')
  const written = existsSync(file) ? await orNote(readSettings(file), note) : undefined
  const saved = written ?? (trained ? await settingsOfCheckpoint(path, note) : undefined)
  const result: Partial<RunRecord> = (await readJson(join(path, 'run.json'), RUN_RECORD, note)) ?? {}
  const config = configOf(saved?.model)
  const metrics = join(path, 'metrics.jsonl')
  const found = existsSync(metrics) ? await readMetrics(metrics, config && branchShape(config).branches) : undefined
  const expansion = await readExpansion(path, note)
  // The parts of an expansion are no one curve.
  if (!found && trained && !expansion) note(`${metrics}: no such file; the run has no curves`)
  if (found && found.skipped > 0)
    note(`${metrics}: ${found.skipped} ${found.skipped === 1 ? 'line is' : 'lines are'} no metrics and left out`)
  const settings = saved?.settings ?? {}
  return {
    study: undefined,
    arm: basename(resolve(path)),
    seed: result.seed ?? accepted(count, settings.seed),
    folder: path,
    settings,
    config,
    dataset: accepted(text, settings.dataset) ?? saved?.dataset?.name,
    testImages: result.final?.test?.images ?? testImagesOf(settings, saved),
    result,
    points: found?.points ?? [],
    attention: await readAttention(path, note),
    compression: await readCompression(path, note),
    expansion,
  }
}

/** Returns the number of test images that a run evaluates on. */
export function testImagesOf(settings: Readonly<Record<string, unknown>>, saved?: SavedSettings): number | undefined {
  const all = saved?.dataset?.testImages ?? (settings.dataset === undefined ? undefined : TEST_IMAGES)
  const asked = accepted(count, settings.testImages)
  return asked === undefined || all === undefined ? (asked ?? all) : Math.min(asked, all)
}

/** Number of test images of each data set that can be trained on. */
const TEST_IMAGES = 10_000

/** Reads settings and config from the checkpoint of a run of a former version, which has no settings.json. Its model may be a study's own. */
async function settingsOfCheckpoint(path: string, note: Note): Promise<SavedSettings | undefined> {
  const name = ['checkpoint.safetensors', 'model.safetensors'].map((file) => join(path, file)).find((file) => existsSync(file))
  if (!name) {
    note(`${path}: has neither settings.json nor a checkpoint; its settings are unknown`)
    return undefined
  }
  try {
    const file = await openSafetensors(name)
    await file.close()
    const { training, config } = file.metadata
    const settings =
      training === undefined ? {} : parseJson(fields({ settings: mapOf(v.unknown()) }), training, 'the metadata').settings
    return { settings, model: config === undefined ? undefined : JSON.parse(config) }
  } catch (error) {
    note(`${name}: ${reason(error)}; its settings are left out`)
    return undefined
  }
}
