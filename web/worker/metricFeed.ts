import type { Metric } from '../../train/run/metrics.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import type { Told } from '../protocol.ts'

/** Milliseconds between messages about metrics, which the page draws. */
const TELL_EVERY = 100

/** Sends the metrics of a run to the page, several at a time. */
export class MetricFeed {
  readonly #tell: (message: Told) => void
  #waiting: Metric[] = []
  #told = 0

  constructor(tell: (message: Told) => void) {
    this.#tell = tell
  }

  add(run: { trainer: Trainer; metrics: Metric[] }, metrics: readonly Metric[]): void {
    run.metrics.push(...metrics)
    this.#waiting.push(...metrics)
    if (performance.now() - this.#told >= TELL_EVERY) this.tell(run)
  }

  /** Sends what waits. */
  tell({ trainer }: { trainer: Trainer }): void {
    const { liveBytes, peakBytes } = trainer.parts.device.memory
    this.#tell({ kind: 'metrics', metrics: this.#waiting, step: trainer.position.step, liveBytes, peakBytes })
    this.#waiting = []
    this.#told = performance.now()
  }
}
