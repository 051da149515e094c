import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { UserError } from '../../../engine/index.ts'
import { tInterval } from '../statistics/index.ts'
import { filesIn, type StudyFolder } from './folder.ts'
import { currentStatement, readRegistered } from './registration.ts'
import { metricOf, type Result, readResults } from './results.ts'

/** The progress of an arm of a registered study. */
export interface ArmStatus {
  arm: string
  finished: number
  /** Runs among the finished ones that diverged, which leave the arm without mean. */
  diverged: number
  of: number
  /** The metric over its finished seeds; the interval takes two. */
  mean: number | undefined
  low: number | undefined
  high: number | undefined
  /** Mean seconds of a finished run. */
  seconds: number | undefined
}

export interface StudyStatus {
  path: string
  id: string
  preset: string
  metric: string
  deviations: number
  arms: ArmStatus[]
  /** Expected seconds of the runs that are missing, one after the other; undefined before any is finished. */
  left: number | undefined
}

/** Returns the folders of all studies that were run. @param out the folder of all studies */
export async function ranStudies(out: string): Promise<StudyFolder[]> {
  const names = await readdir(out).catch(() => [])
  const folders = names.sort().map((name) => filesIn(join(out, name)))
  return folders.filter(({ registered }) => existsSync(registered))
}

/**
 * Finds the folder of a study that was run: the one of its name and preset, such as `schemes-tiny`, or of its name alone.
 * @param out the folder of all studies
 * @returns undefined where `word` is a path, and where no such study was run
 * @throws UserError where the name alone stands for several presets
 */
export async function ranStudyNamed(word: string, out: string): Promise<string | undefined> {
  if (existsSync(word)) return undefined
  const found = (await ranStudies(out)).map(({ path }) => path)
  const exact = found.find((path) => basename(path) === word)
  if (exact !== undefined) return exact
  const named = found.filter((path) => basename(path).replace(/-[^-]+$/, '') === word)
  if (named.length > 1) throw new UserError(`${word} was run at several presets; name one of ${named.join(', ')}`)
  return named[0]
}

/** Says how far a study is. @throws UserError for a folder without a study, and for files that are malformed */
export async function studyStatus(folder: Pick<StudyFolder, 'path' | 'registered' | 'results'>): Promise<StudyStatus> {
  const registered = await readRegistered(folder.registered)
  if (!registered) throw new UserError(`${folder.path}: holds no study; begin with paraformer study run`)
  const results = await readResults(folder.results, registered)
  const { id, preset, metric, seeds, arms } = currentStatement(registered)
  const each = Object.keys(arms).map((arm) => armStatus(arm, seeds.length, metric, results))
  const rate = mean(results.map(({ wallSeconds }) => wallSeconds))
  const missing = each.map(({ finished, of, seconds }) => (of - finished) * (seconds ?? rate ?? Number.NaN))
  const left = rate === undefined ? undefined : missing.reduce((sum, seconds) => sum + seconds, 0)
  return { path: folder.path, id, preset, metric, deviations: registered.deviations.length, arms: each, left }
}

function armStatus(arm: string, of: number, metric: string, results: readonly Result[]): ArmStatus {
  const own = results.filter((result) => result.arm === arm)
  const values = own.map((result) => numberOf(result, metric))
  const finite = values.every(Number.isFinite)
  const { low, high } = finite && values.length > 1 ? tInterval(values) : {}
  const seconds = mean(own.map(({ wallSeconds }) => wallSeconds))
  const diverged = own.filter((result) => result.diverged !== undefined).length
  return { arm, finished: own.length, diverged, of, mean: finite ? mean(values) : undefined, low, high, seconds }
}

/** @throws UserError for a metric that results do not have */
function numberOf(result: Result, metric: string): number {
  const value = metricOf(result, metric)
  if (value !== undefined) return value
  throw new UserError(
    `results have no number ${metric}; name testAccuracy, testLoss, validationAccuracy, validationLoss, or wallSeconds`,
  )
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length
}
