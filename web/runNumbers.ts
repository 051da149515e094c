import type { Metric } from '../train/run/metrics.ts'
import { byId, element } from './dom.ts'
import type { RunInfo, RunState } from './protocol.ts'

/** Mini-batches over which the rate of training is measured. */
const MAX_RATE_STEPS = 20
const percent = (share: number) => `${(100 * share).toFixed(1)} %`
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

/** Says what a run is doing. @param kept whether its last checkpoint outlives the page */
export function sentenceOf({ step, totalSteps }: RunInfo, state: RunState['kind'], kept: boolean): string {
  const lost = 'nothing is kept in this browser: save the checkpoint before you leave.'
  switch (state) {
    case 'running':
      return `Training: mini-batch ${step} of ${totalSteps}.`
    case 'finished':
      return `Finished: ${totalSteps} mini-batches${kept ? '.' : `; ${lost}`}`
    case 'failed':
      return 'The run has failed.'
    default:
      return `Paused after mini-batch ${step} of ${totalSteps}; ${kept ? 'what was trained is kept in this browser.' : lost}`
  }
}

/** Returns what is known of a run as names and values. */
export function factsOf(run: RunInfo, memory: { liveBytes: number; peakBytes: number } | undefined): [string, string][] {
  const { metrics, branches, parameters, trainImages, evaluationImages, settings } = run
  const evaluated = metrics.filter(({ split }) => split !== 'train')
  const last = lastOfEachPrefix(evaluated, branches)
  const rate = imagesPerSecond(metrics, settings.batchSize)
  const facts: [string, string | undefined][] = [
    ['parameters', parameters.toLocaleString('en')],
    ['training images', trainImages.toLocaleString('en')],
    ['branches run', `in mode ${settings.mode}`],
    ['images a second', rate?.toFixed(0)],
    ['device memory', memory && `${megabytes(memory.liveBytes)}, at most ${megabytes(memory.peakBytes)}`],
    [
      `accuracy on ${evaluationImages} test images`,
      last.length > 0 ? last.map((metric) => percent(metric.accuracy)).join(', ') : undefined,
    ],
  ]
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined)
}

/** The rate of the last mini-batches of training; undefined before the second one. */
function imagesPerSecond(metrics: readonly Metric[], batchSize: number): number | undefined {
  const trained = metrics.filter(({ split }) => split === 'train')
  const last = trained.at(-1)
  const first = trained.find(({ step }) => step >= last!.step - MAX_RATE_STEPS)
  if (!last || !first || last.time <= first.time) return undefined
  return ((last.step - first.step) * batchSize) / (last.time - first.time)
}

/** The last metric of each prefix; none unless all have the same mini-batch. */
export function lastOfEachPrefix(metrics: readonly Metric[], branches: number): Metric[] {
  const last = Array.from({ length: branches }, (_, k) => metrics.findLast(({ prefix }) => prefix === k + 1))
  return last.every((metric) => metric && metric.step === last[0]!.step) ? (last as Metric[]) : []
}

/**
 * Shows by how much each branch lowers the loss of the prefix before it, the first one compared with guessing, and what it takes.
 * @param last a metric of each prefix, of one mini-batch
 */
export function showGains({ classes, branchTimes, settings }: RunInfo, last: readonly Metric[]): void {
  const guessing = Math.log(classes)
  const gains = last.map(({ loss }, k) => (k === 0 ? guessing : last[k - 1]!.loss) - loss)
  const most = Math.max(...gains.map(Math.abs), Number.MIN_VALUE)
  byId('gains').replaceChildren(
    ...gains.map((gain, k) => {
      const name = `branch ${k + 1}`
      const bar = element('meter', { min: 0, max: most, value: Math.max(0, gain) })
      bar.setAttribute('aria-label', `${name} takes ${gain.toFixed(3)} off the loss`)
      const time = branchTimes?.milliseconds[k]
      const numbers = [
        `${gain >= 0 ? '−' : '+'}${Math.abs(gain).toFixed(3)}`,
        time === undefined ? '' : `${time.toFixed(2)} ms`,
      ]
      return element('div', { className: 'gain' }, name, bar, ...numbers.map((textContent) => element('span', { textContent })))
    }),
  )
  const clock =
    branchTimes?.clock === 'device' ? 'by timestamps of the device' : "by the host's clock, since timestamps are off"
  byId('branch-clock').textContent = branchTimes
    ? `Milliseconds of forward and backward of each branch stream alone, ${settings.batchSize} images, ${clock}; measured when the run was opened.`
    : ''
}
