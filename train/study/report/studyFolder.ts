import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { UserError } from '../../../engine/base/errors.ts'
import { accepted, text } from '../../../engine/base/json.ts'
import { filesIn, runPath, type StudyFolder } from '../results/folder.ts'
import { currentStatement, type Registered, type Rule, readRegistered, type Statement } from '../results/registration.ts'
import { type Result, readResults } from '../results/results.ts'
import type { Note } from './files.ts'
import { configOfSettings, type Run } from './record.ts'
import { isRunFolder, readRunFolder, testImagesOf } from './runFolder.ts'

/** A study with its runs. */
export interface StudyRecord {
  path: string
  title: string
  /** The registration; undefined where there is none. */
  registered: Registered | undefined
  /** The statement before the first run, empty where nothing was registered. */
  statement: Partial<Statement>
  /** Rules that were stated later, which decide nothing that was registered. */
  laterRules: Rule[]
  /** Seeds that are registered by now. */
  seeds: readonly number[] | undefined
  runs: Run[]
  descriptions: ReadonlyMap<string, string>
}

/** Whether a folder holds a study. */
export function isStudyFolder(path: string): boolean {
  const { registered, results } = filesIn(path)
  return existsSync(registered) || existsSync(results)
}

/**
 * Reads a study folder: what was registered, its results, and the curves of those runs whose folders are there.
 * @throws UserError in one line for files that are malformed, of a newer version, or do not belong together
 */
export async function readStudyFolder(path: string, note: Note): Promise<StudyRecord> {
  const files = filesIn(path)
  const registered = await readRegistered(files.registered)
  // Results may have been copied without their registration. They are shown, but decide nothing.
  if (!registered)
    note(`${files.registered}: no such file; nothing was registered before the runs, so that there are no claims`)
  if (!existsSync(files.results)) note(`${files.results}: no such file; no run of the study is done`)
  const statement: Partial<Statement> = registered?.statement ?? {}
  const last: Partial<Statement> = registered ? currentStatement(registered) : {}
  const title = titleOf(path, statement)
  const results = await readResults(files.results, registered)
  const runs: Run[] = []
  for (const result of results) runs.push(await runOf(result, files, title, note))
  const arms = { ...statement.arms, ...last.arms }
  const names = [...new Set([...Object.keys(arms), ...runs.map(({ arm }) => arm)])]
  runs.sort((a, b) => names.indexOf(a.arm) - names.indexOf(b.arm) || (a.seed ?? 0) - (b.seed ?? 0))
  const known = new Set((statement.decisionRule ?? []).map((rule) => JSON.stringify(rule)))
  const laterRules = (last.decisionRule ?? []).filter((rule) => !known.has(JSON.stringify(rule)))
  return { path, title, registered, statement, laterRules, seeds: last.seeds, runs, descriptions: descriptionsOf(arms) }
}

function titleOf(path: string, { id, preset }: Partial<Statement>): string {
  return id === undefined ? basename(resolve(path)) : `${id} (${preset})`
}

function descriptionsOf(arms: Statement['arms']): Map<string, string> {
  const described = Object.entries(arms).flatMap(([name, { description }]) => {
    const found = accepted(text, description)
    return found === undefined ? [] : [[name, found] as const]
  })
  return new Map(described)
}

/** Joins a result with the curves in the folder of its run, which need not be there. */
async function runOf(result: Result, files: StudyFolder, study: string, note: Note): Promise<Run> {
  const { arm, seed, settings, parameters, final } = result
  const folder = folderOf(files, result.key)
  const own = folder === undefined ? undefined : await readRunFolder(folder, note)
  return {
    ...{ study, arm, seed, folder, settings, result },
    config: own?.config ?? configOfSettings(settings, parameters),
    dataset: accepted(text, settings.dataset),
    testImages: final.test?.images ?? testImagesOf(settings),
    points: own?.points ?? [],
    attention: own?.attention,
    compression: own?.compression,
    expansion: own?.expansion,
  }
}

/** Returns the folder of a run's curves, if it is there. A key that is no plain name leads nowhere. */
function folderOf(files: StudyFolder, key: string): string | undefined {
  if (!/^[\w.-]+$/.test(key) || /^\.+$/.test(key)) return undefined
  const folder = runPath(files, 'run', key)
  return isRunFolder(folder) ? folder : undefined
}

/** Reads what a path names: a study or a run. @throws UserError in one line when it is neither */
export async function readFolder(path: string, note: Note): Promise<StudyRecord | Run> {
  if (isStudyFolder(path)) return readStudyFolder(path, note)
  if (isRunFolder(path)) return readRunFolder(path, note)
  const what = existsSync(path) ? 'holds neither a run nor a study' : 'no such folder'
  throw new UserError(`${path}: ${what}; name a folder with metrics.jsonl (a run) or results.jsonl (a study)`)
}
