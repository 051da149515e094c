import { LineFile } from './lines.ts'

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

/** Where a run stands. */
export interface Place {
  /** Mini-batches done. */
  step: number
  /** Whether the evaluation after them comes next. */
  evaluationDue?: boolean | undefined
}

/** A JSONL file of metrics; lines are appended as they come. */
export class MetricsLog {
  readonly #lines: LineFile

  private constructor(lines: LineFile) {
    this.#lines = lines
  }

  /**
   * Opens the log of a run; lines after the place of its checkpoint, which a run that was killed wrote, are cut off.
   * @param say told when the file cannot be written for a while
   * @throws FileError when it cannot be read and written
   */
  static async open(path: string, place: Place, say: (text: string) => void): Promise<MetricsLog> {
    return new MetricsLog(await LineFile.open(path, isAfter(place), say))
  }

  /** Forgets what came after a place, for a run that goes back to a checkpoint. @throws FileError when the file cannot be read and written */
  rewind(place: Place): Promise<void> {
    return this.#lines.cut(isAfter(place))
  }

  /** Appends a line; what cannot be written waits. */
  write(metric: Metric): void {
    this.#lines.append(JSON.stringify(metric))
  }

  /** Puts on the disk what was written, as far as it can be: a checkpoint that is saved after it counts on its lines. */
  sync(): Promise<void> {
    return this.#lines.sync()
  }

  /** @throws FileError when lines are missing */
  close(): Promise<void> {
    return this.#lines.close()
  }
}

/** Whether a line came after a place; what is no line of this log did not. */
function isAfter({ step, evaluationDue = false }: Place): (line: string) => boolean {
  return (line) => {
    try {
      const metric = JSON.parse(line) as Metric
      return metric.step > step || (evaluationDue && metric.kind === 'epoch' && metric.step === step)
    } catch {
      return false
    }
  }
}
