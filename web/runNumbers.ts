import type { Metric } from '../train/run/metrics.ts'
import type { RunInfo, RunState } from './protocol.ts'
import { counted, percent } from './words.ts'

/** Mini-batches over which the rate of training is measured. */
const MAX_RATE_STEPS = 20
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

/** How branches run, by the mode of a run. */
const MODES: Readonly<Record<string, string>> = {
  serial: 'one after the other',
  streams: 'each in a stream of its own',
  coalesced: 'together, as one wide computation',
  devices: 'on several devices',
}

/** Says what a run is doing. */
export function sentenceOf({ step, totalSteps }: RunInfo, state: RunState): string {
  if (state.kind === 'failed') return 'The run has failed.'
  const lost = 'nothing is kept in this browser: save the checkpoint before you leave.'
  switch (state.kind) {
    case 'running':
      return `Training: mini-batch ${step} of ${totalSteps}.`
    case 'finished':
      return `Finished: ${counted(totalSteps, 'mini-batch', 'mini-batches')}${state.kept ? '.' : `; ${lost}`} Reset begins another run.`
    default:
      if (step === 0) return `Ready to train ${counted(totalSteps, 'mini-batch', 'mini-batches')}.`
      return `Paused after mini-batch ${step} of ${totalSteps}; ${state.kept ? 'what was trained is kept in this browser.' : lost}`
  }
}

/** Returns what is known of a run as names and values. */
export function factsOf(run: RunInfo, memory: { liveBytes: number; peakBytes: number } | undefined): [string, string][] {
  const { metrics, branches, parameters, trainImages, evaluationImages, settings } = run
  const last = lastOfEachPrefix(evaluations(metrics), branches)
  const rate = imagesPerSecond(metrics, settings.batchSize)
  const facts: [string, string | undefined][] = [
    ['parameters', parameters.toLocaleString('en')],
    ['training images', trainImages.toLocaleString('en')],
    ['branches run', branches > 1 ? (MODES[settings.mode] ?? settings.mode) : undefined],
    ['images a second', rate?.toFixed(0)],
    ['device memory', memory && `${megabytes(memory.liveBytes)}, at most ${megabytes(memory.peakBytes)}`],
    ['test images', last.length > 0 ? evaluationImages.toLocaleString('en') : undefined],
    ...last.map(({ accuracy }, k): [string, string] => [`accuracy of ${prefixName(run, k + 1)}`, percent(accuracy)]),
  ]
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined)
}

/** Names the model of the first branches. */
function prefixName({ branches, settings }: RunInfo, count: number): string {
  if (branches === 1) return 'the model'
  const what = settings.architecture === 'ensemble' ? 'member' : 'branch'
  if (count === 1) return `${what} 1 alone`
  return count === branches ? `all ${branches} ${what === 'branch' ? 'branches' : 'members'}` : `the first ${count}`
}

/** The rate of the last mini-batches of training; undefined before the second one. */
function imagesPerSecond(metrics: readonly Metric[], batchSize: number): number | undefined {
  const trained = metrics.filter(({ split }) => split === 'train')
  const last = trained.at(-1)
  const first = trained.find(({ step }) => step >= last!.step - MAX_RATE_STEPS)
  if (!last || !first || last.time <= first.time) return undefined
  return ((last.step - first.step) * batchSize) / (last.time - first.time)
}

/** The metrics of evaluations. */
export function evaluations(metrics: readonly Metric[]): Metric[] {
  return metrics.filter(({ split }) => split !== 'train')
}

/** The last metric of each prefix; none unless all have the same mini-batch. */
export function lastOfEachPrefix(metrics: readonly Metric[], branches: number): Metric[] {
  const last = Array.from({ length: branches }, (_, k) => metrics.findLast(({ prefix }) => prefix === k + 1))
  return last.every((metric) => metric && metric.step === last[0]!.step) ? (last as Metric[]) : []
}

/** Adds metrics to a run. One that went back to a checkpoint sends its mini-batches again. */
export function addMetrics(run: RunInfo, metrics: readonly Metric[]): void {
  const first = metrics.find(({ split }) => split === 'train')?.step ?? Number.POSITIVE_INFINITY
  if ((run.metrics.at(-1)?.step ?? 0) >= first) run.metrics = run.metrics.filter(({ step }) => step < first)
  run.metrics.push(...metrics)
}
