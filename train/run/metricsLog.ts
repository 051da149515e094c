import { LineFile } from './lines.ts'
import type { Metric } from './metrics.ts'

/** A place in the course of a run. */
export interface Place {
  /** Mini-batches done. */
  step: number
  /** Whether the evaluation after them comes next. */
  evaluationDue?: boolean | undefined
}

/** A JSONL file to which metrics are appended. */
export class MetricsLog {
  readonly #lines: LineFile

  private constructor(lines: LineFile) {
    this.#lines = lines
  }

  /**
   * Opens the log of a run. Lines after the place of its checkpoint, which a killed process wrote, are cut off.
   * @param say is called when the file cannot be written for a while
   * @throws FileError when the file cannot be read and written
   */
  static async open(path: string, place: Place, say: (text: string) => void): Promise<MetricsLog> {
    return new MetricsLog(await LineFile.open(path, isAfter(place), say))
  }

  /** Cuts off the lines after a place, for a run that goes back to a checkpoint. @throws FileError when the file cannot be read and written */
  rewind(place: Place): Promise<void> {
    return this.#lines.cut(isAfter(place))
  }

  /** Appends lines; those that cannot be written wait. */
  write(...metrics: readonly Metric[]): void {
    for (const metric of metrics) this.#lines.append(JSON.stringify(metric))
  }

  /** Puts the lines on the disk, as far as they can be written; a checkpoint that is saved next relies on them. */
  sync(): Promise<void> {
    return this.#lines.sync()
  }

  /** @throws FileError when lines are missing */
  close(): Promise<void> {
    return this.#lines.close()
  }
}

/** Makes the test whether a line belongs after a place; a line that is no metric does not. */
function isAfter({ step, evaluationDue = false }: Place): (line: string) => boolean {
  return (line) => {
    try {
      const metric = JSON.parse(line) as Pick<Metric, 'step' | 'split'>
      // Lines of former versions have a split in evaluations alone.
      const evaluates = metric.split === 'validation' || metric.split === 'test'
      return metric.step > step || (evaluationDue && evaluates && metric.step === step)
    } catch {
      return false
    }
  }
}
