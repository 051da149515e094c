import type { Study } from '../study/plan/define.ts'
import type { StudyStatus } from '../study/results/status.ts'
import type { PreviewedRun } from '../study/run/preview.ts'
import { printable } from './printable.ts'
import { compact, duration, table } from './table.ts'

/** Describes studies: each with what it asks, and what it consists of. */
export function listedStudies(studies: readonly Study[]): string[] {
  return studies.flatMap(({ id, hypothesis, arms, seeds, presets }) => [
    `${id}: ${printable(hypothesis)}`,
    `  arms ${Object.keys(arms).join(', ')}; seeds ${seeds.join(', ')}; presets ${Object.keys(presets).join(', ')}`,
  ])
}

/** Describes the runs of a plan, and the time of those that are missing. @param jobs runs at a time */
export function previewLines(runs: readonly PreviewedRun[], jobs: number): string[] {
  const rows = runs.map(({ arm, seed, trial, work, finished, seconds }) => [
    arm,
    String(seed),
    trial ? `trial ${trial.index + 1}` : 'run',
    String(work.miniBatches),
    String(work.optimizerSteps),
    compact(work.flops),
    seconds === undefined ? '-' : duration(seconds),
    finished ? 'finished' : 'missing',
  ])
  const missing = runs.filter(({ finished }) => !finished)
  const total = missing.reduce((sum, { seconds }) => sum + (seconds ?? Number.NaN), 0)
  const flops = missing.reduce((sum, { work }) => sum + work.flops, 0)
  const time = Number.isFinite(total) ? `, ${duration(total / Math.min(jobs, Math.max(1, missing.length)))} expected` : ''
  return [
    table(['arm', 'seed', 'what', 'mini-batches', 'optimizer steps', 'FLOPs', 'time', 'state'], rows),
    `${missing.length} of ${runs.length} are missing: ${compact(flops)}FLOPs${time}`,
  ]
}

/** Describes how far a study is. */
export function statusLines({ path, id, preset, metric, deviations, arms, left }: StudyStatus): string[] {
  const number = (value: number | undefined) => (value === undefined ? '-' : value.toPrecision(5))
  const rows = arms.map(({ arm, finished, diverged, of, mean, low, high, seconds }) => [
    arm,
    `${finished} of ${of}${diverged > 0 ? `, ${diverged} diverged` : ''}`,
    number(mean),
    low === undefined ? '-' : `${number(low)} to ${number(high)}`,
    seconds === undefined ? '-' : duration(seconds),
  ])
  const missing = arms.reduce((sum, { finished, of }) => sum + of - finished, 0)
  const time = missing > 0 && left !== undefined ? `, about ${duration(left)} one after the other` : ''
  const changed = deviations === 0 ? '' : `; changed ${deviations} times after its registration`
  return [
    `study ${id}, preset ${preset}, in ${printable(path)}${changed}`,
    table(['arm', 'finished', metric, '95 % interval', 'time of a run'], rows),
    missing === 0 ? 'all runs are finished' : `${missing} runs are missing${time}`,
  ]
}
