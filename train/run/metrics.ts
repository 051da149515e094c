import { appendFile, readFile } from 'node:fs/promises'
import { fileError, writeFile } from '../../engine/platform/files.ts'

/** One line of metrics.jsonl: `step` for a mini-batch, `epoch` for an evaluation. */
export type Metric =
  | {
      kind: 'step'
      /** Mini-batches done, this one included. */
      step: number
      epoch: number
      /** Of each optimizer step on the mini-batch. */
      losses: number[][]
      /** Shares of the mini-batch classified right, laid out like `losses`. */
      accuracies: number[][]
      norms: number[]
      /** Of the next step, in mixed precision. */
      lossScale?: number | undefined
      lr: number
      imagesPerSecond: number
    }
  | {
      kind: 'epoch'
      step: number
      epoch: number
      split: 'validation' | 'test'
      losses: number[]
      accuracies: number[]
      violations: number
      seconds: number
    }

/** A JSONL file of metrics; lines are written as they come. */
export class MetricsLog {
  readonly path: string
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string) {
    this.path = path
  }

  /** Opens the log of a run; lines of steps after `step`, which a run that was killed wrote, are dropped. UserError when it cannot be written. */
  static async open(path: string, step: number): Promise<MetricsLog> {
    const text = await readFile(path, 'utf8').catch(() => '')
    const kept = text.split('\n').filter((line) => line !== '' && stepOf(line) <= step)
    await writeFile(path, kept.map((line) => `${line}\n`).join(''))
    return new MetricsLog(path)
  }

  /** Appends a line; failures surface from `close()`. */
  write(metric: Metric): void {
    this.#writing = this.#writing.then(() => appendFile(this.path, `${JSON.stringify(metric)}\n`))
    this.#writing.catch(() => {})
  }

  async close(): Promise<void> {
    await this.#writing.catch((error: unknown) => {
      throw fileError(this.path, error)
    })
  }
}

/** The step of a line, or Infinity for a line that was cut short. */
function stepOf(line: string): number {
  try {
    return (JSON.parse(line) as Metric).step
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
