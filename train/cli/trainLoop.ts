import type { Evaluation } from '../evaluate.ts'
import type { CheckpointWriter } from '../run/checkpointWriter.ts'
import { evaluationMetrics, stepMetrics } from '../run/metrics.ts'
import type { MetricsLog } from '../run/metricsLog.ts'
import { placeBefore } from '../run/position.ts'
import type { StepTimes } from '../run/stepTimes.ts'
import type { Trainer } from '../run/trainer.ts'
import type { StepReport } from '../run/trainerParts.ts'
import type { Interrupt } from './interrupt.ts'
import type { Progress } from './progress.ts'
import { percent } from './table.ts'
import type { Trace } from './trace.ts'

export interface LoopParts {
  interrupt: Interrupt
  progress: Progress
  metrics: MetricsLog
  checkpoints: CheckpointWriter
  times: StepTimes
  trace?: Trace | undefined
  /** The split that epochs are evaluated on. */
  split: 'validation' | 'test'
}

/**
 * Trains to the end or to an interruption, with progress, metrics and saves. When it fails, the last checkpoint is intact, and another
 * trainer may go on from it with the same parts, after `metrics` is rewound.
 * @returns whether it came to the end
 */
export function trainLoop(
  trainer: Trainer,
  { interrupt, progress, metrics, checkpoints, times, trace, split }: LoopParts,
): Promise<boolean> {
  const rate = new Rate()
  const running = new PrefixAccuracies()
  times.begin()
  return trainer.run({
    onBegin: (step) => trace?.before(step),
    shouldStop: () => interrupt.asked,
    onStep(report) {
      trace?.after(report.position.step)
      const imagesPerSecond = rate.add(report.images)
      times.done()
      metrics.write(...stepMetrics(report, imagesPerSecond))
      progress.update(report.position.step, label(report, running.add(report), imagesPerSecond))
    },
    onEvaluating: (images, of) => progress.update(trainer.position.step, `evaluating ${images}/${of}`),
    onEpoch({ epoch, ...found }) {
      const { position, scheme, flops, elapsed: time } = trainer
      const { pass } = placeBefore(position, scheme)
      metrics.write(...evaluationMetrics(found, { time, epoch, pass, step: position.step, split, flops: flops.total }))
      progress.note(epochLine(epoch, found))
      rate.restart()
      times.begin()
    },
    onSave: () => checkpoints.save(trainer),
  })
}

function label(report: StepReport, shares: readonly number[], imagesPerSecond: number): string {
  const accuracy = shares.map((share) => (100 * share).toFixed(1)).join(' ')
  return `epoch ${report.epoch + 1} loss ${report.losses.at(-1)!.at(-1)!.toFixed(4)} acc ${accuracy} % ${imagesPerSecond.toFixed(0)} img/s`
}

/** Exponential moving average of each prefix's training accuracy. */
class PrefixAccuracies {
  readonly #means: number[] = []

  /** Adds a mini-batch. @returns the averages of all prefixes so far */
  add({ accuracies, firstPrefixes }: StepReport): readonly number[] {
    accuracies.forEach((shares, step) => {
      shares.forEach((share, j) => {
        // In mixed precision the logits of a step may overflow.
        if (Number.isNaN(share)) return
        const k = firstPrefixes[step]! - 1 + j
        this.#means[k] = (this.#means[k] ?? share) * 0.95 + 0.05 * share
      })
    })
    return Object.values(this.#means)
  }
}

function epochLine(epoch: number, { losses, accuracies }: Evaluation): string {
  const prefixes = losses.map((loss, k) => `L${k + 1} ${loss.toFixed(4)} (${percent(accuracies[k]!)})`)
  return `epoch ${epoch + 1}: ${prefixes.join('  ')}`
}

/** Images per second over the last five seconds. */
class Rate {
  #marks: { at: number; images: number }[] = []

  /** Adds the images of a mini-batch. @returns the rate */
  add(images: number): number {
    const now = performance.now()
    this.#marks.push({ at: now, images })
    while (this.#marks.length > 2 && now - this.#marks[0]!.at > 5000) this.#marks.shift()
    const [oldest, ...rest] = this.#marks
    const seconds = (now - oldest!.at) / 1000
    return seconds > 0 ? rest.reduce((sum, mark) => sum + mark.images, 0) / seconds : 0
  }

  /** Begins anew after a pause. */
  restart(): void {
    this.#marks = []
  }
}
