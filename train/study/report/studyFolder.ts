import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import * as v from 'valibot'
import { UserError } from '../../../engine/base/errors.ts'
import { accepted, amount, count, fields, listOf, mapOf, text } from '../../../engine/base/json.ts'
import { checkFormat, type Note, readJson, readText } from './files.ts'
import { configOf, configOfSettings, RESULT, type Run } from './record.ts'
import { isRunFolder, readRunFolder, testImagesOf } from './runFolder.ts'

const RULE = fields({
  claim: text,
  compare: v.tuple([text, text], 'two arms'),
  better: v.picklist(['higher', 'lower'], 'higher or lower'),
  margin: v.optional(amount),
})

/** A comparison of two arms that decides a claim. */
export type Rule = v.InferOutput<typeof RULE>

const STATEMENT = fields({
  id: v.optional(text),
  preset: v.optional(text),
  hypothesis: v.optional(text),
  prediction: v.optional(text),
  metric: v.optional(text),
  budget: v.optional(text),
  decisionRule: v.optional(listOf(RULE)),
  arms: v.optional(mapOf(v.unknown())),
  seeds: v.optional(listOf(count)),
})

/** The statement of a study before its first run. */
export type Statement = v.InferOutput<typeof STATEMENT>

const REGISTERED = fields({
  format: v.optional(count),
  hash: v.optional(text),
  at: v.optional(text),
  statement: STATEMENT,
  deviations: v.optional(
    listOf(
      fields({
        at: v.optional(text),
        reason: v.optional(text),
        changed: v.optional(listOf(text)),
        hash: v.optional(text),
        statement: STATEMENT,
      }),
    ),
  ),
})

/** The content of registered.json. */
export type Registered = v.InferOutput<typeof REGISTERED>

/** A study with its runs. */
export interface StudyRecord {
  path: string
  title: string
  /** The registration; undefined where there is none. */
  registered: Registered | undefined
  /** The statement before the first run. */
  statement: Statement
  /** Rules that were stated later, which decide nothing that was registered. */
  laterRules: Rule[]
  /** Seeds that are registered by now. */
  seeds: readonly number[] | undefined
  runs: Run[]
  descriptions: ReadonlyMap<string, string>
}

/** Whether a folder holds a study. */
export function isStudyFolder(path: string): boolean {
  return existsSync(join(path, 'registered.json')) || existsSync(join(path, 'results.jsonl'))
}

/**
 * Reads a study folder: what was registered, its results, and the curves of those runs whose folders are there.
 * @throws UserError in one line when it was written by a newer version, or cannot be read
 */
export async function readStudyFolder(path: string, note: Note): Promise<StudyRecord> {
  const file = join(path, 'registered.json')
  const registered = await readJson(file, REGISTERED, note)
  if (!existsSync(file)) note(`${file}: no such file; nothing was registered before the runs, so that there are no claims`)
  const statement = registered?.statement ?? {}
  const last = registered?.deviations?.at(-1)?.statement ?? statement
  const title = titleOf(path, statement)
  const runs = await readResults(path, title, registered, note)
  const arms = { ...statement.arms, ...last.arms }
  const names = [...new Set([...Object.keys(arms), ...runs.map(({ arm }) => arm)])]
  runs.sort((a, b) => names.indexOf(a.arm) - names.indexOf(b.arm) || (a.seed ?? 0) - (b.seed ?? 0))
  const known = new Set((statement.decisionRule ?? []).map((rule) => JSON.stringify(rule)))
  const laterRules = (last.decisionRule ?? []).filter((rule) => !known.has(JSON.stringify(rule)))
  return { path, title, registered, statement, laterRules, seeds: last.seeds, runs, descriptions: descriptionsOf(arms) }
}

function titleOf(path: string, { id, preset }: Statement): string {
  if (id === undefined) return basename(resolve(path))
  return preset === undefined ? id : `${id} (${preset})`
}

function descriptionsOf(arms: Readonly<Record<string, unknown>>): Map<string, string> {
  const described = Object.entries(arms).flatMap(([name, arm]) => {
    const found = accepted(v.object({ description: text }), arm)
    return found ? [[name, found.description] as const] : []
  })
  return new Map(described)
}

/** @throws UserError in one line for results of another registration */
async function readResults(path: string, study: string, registered: Registered | undefined, note: Note): Promise<Run[]> {
  const file = join(path, 'results.jsonl')
  if (!existsSync(file)) {
    note(`${file}: no such file; no run of the study is done`)
    return []
  }
  const runs = new Map<string, Run>()
  const hashes = [registered, ...(registered?.deviations ?? [])].map((stated) => stated?.hash)
  let skipped = 0
  for (const line of (await readText(file)).split('\n')) {
    if (line.trim() === '') continue
    checkFormat(file, line)
    const run = await readResult(line, path, study, note)
    if (!run) skipped++
    else {
      const { registration } = run.result
      if (registered?.hash !== undefined && registration !== undefined && !hashes.includes(registration))
        throw new UserError(`${file}: has results of another registration; keep results and registered.json together`)
      const key = JSON.stringify([run.arm, run.seed])
      if (runs.has(key)) note(`${file}: arm ${run.arm} has two results of seed ${run.seed}; the later one counts`)
      runs.set(key, run)
    }
  }
  if (skipped > 0) note(`${file}: ${skipped} ${skipped === 1 ? 'line is no result' : 'lines are no results'} and left out`)
  return [...runs.values()]
}

async function readResult(line: string, path: string, study: string, note: Note): Promise<Run | undefined> {
  let raw: unknown
  try {
    raw = JSON.parse(line)
  } catch {
    return undefined
  }
  const result = accepted(RESULT, raw)
  if (!result || result.arm === undefined || result.seed === undefined) return undefined
  const folder = result.key === undefined ? undefined : folderOf(path, result.key)
  const own = folder === undefined ? undefined : await readRunFolder(folder, note)
  const settings = result.settings ?? own?.settings ?? {}
  return {
    study,
    arm: result.arm,
    seed: result.seed,
    folder,
    settings,
    config: own?.config ?? configOf(result.model) ?? configOfSettings(settings, result.parameters),
    dataset: accepted(text, settings.dataset) ?? own?.dataset,
    testImages: result.final?.test?.images ?? own?.testImages ?? testImagesOf(settings),
    result,
    raw,
    points: own?.points ?? [],
    compression: own?.compression,
    expansion: own?.expansion,
  }
}

/** Returns the folder of a run's curves, if it is there. A key that is no plain name leads nowhere. */
function folderOf(path: string, key: string): string | undefined {
  if (!/^[\w.-]+$/.test(key) || /^\.+$/.test(key)) return undefined
  const folder = join(path, 'runs', key)
  return isRunFolder(folder) ? folder : undefined
}

/** Reads what a path names: a study or a run. @throws UserError in one line when it is neither */
export async function readFolder(path: string, note: Note): Promise<StudyRecord | Run> {
  if (isStudyFolder(path)) return readStudyFolder(path, note)
  if (isRunFolder(path)) return readRunFolder(path, note)
  const what = existsSync(path) ? 'holds neither a run nor a study' : 'no such folder'
  throw new UserError(`${path}: ${what}; name a folder with metrics.jsonl (a run) or results.jsonl (a study)`)
}
