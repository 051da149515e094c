import { StaleValueError } from '../base/errors.ts'
import { format, type Shape } from '../layout/shape.ts'

/** How `run` tells of a change in memory, see `Version`. */
export interface Changeable {
  /** Counts a change by the op `by`. */
  change(by: string): void
  /** Whether the tensor that lay there lies elsewhere now. */
  readonly moved: boolean
}

let changes = 0

/** The number of changes of all memory. */
export function changesSoFar(): number {
  return changes
}

/**
 * Counts the changes of some memory in place, for a tensor and its views together, so that backward notices when a value that it kept
 * is no longer the one that the forward pass used (PyTorch's version counter).
 */
export class Version implements Changeable {
  /** The memory that this one is a part of, as a slot is of an arena: a change of the whole is one of every part. */
  readonly #whole: Version | undefined
  #own = 0
  #ofParts = 0
  #changedBy = ''
  #changedAt = 0
  /** The name of the parameter that lies there, for errors. */
  label = ''
  #successor: { version: Version; count: number; leftAt: number } | undefined

  constructor(whole?: Version) {
    this.#whole = whole
  }

  get moved(): boolean {
    return this.#successor !== undefined
  }

  /** The tensor lies elsewhere from now on, with the same values. */
  moveTo(version: Version): void {
    this.#successor = { version, count: version.count, leftAt: this.count }
  }

  /** What counts the tensor's changes now, and what it counts for the values of `count` here: -1 when they were changed before they moved. */
  latest(count: number): { version: Version; count: number } {
    let [version, at]: [Version, number] = [this, count]
    while (version.#successor) {
      const { leftAt, ...next } = version.#successor
      at = at === leftAt ? next.count : -1
      version = next.version
    }
    return { version, count: at }
  }

  /** The number of changes so far. */
  get count(): number {
    let count = this.#own + this.#ofParts
    for (let whole = this.#whole; whole; whole = whole.#whole) count += whole.#own
    return count
  }

  /** The op that made the last change. */
  get changedBy(): string {
    return this.#latest().#changedBy
  }

  /** When the last change was, in `changesSoFar()`. */
  get changedAt(): number {
    return this.#latest().#changedAt
  }

  /** Of this memory and those it is a part of the one that was changed last. */
  #latest(): Version {
    let last: Version = this
    for (let whole = this.#whole; whole; whole = whole.#whole) if (whole.#changedAt > last.#changedAt) last = whole
    return last
  }

  change(by: string): void {
    this.#own++
    this.#changedBy = by
    this.#changedAt = ++changes
    for (let whole = this.#whole; whole; whole = whole.#whole) whole.#ofParts++
  }
}

/** Of memory in which several tensors lie. */
export function joint(versions: readonly Changeable[]): Changeable {
  return {
    change(by) {
      for (const version of versions) version.change(by)
    },
    get moved() {
      return versions.some(({ moved }) => moved)
    },
  }
}

/** The error of backward, in `op`, for a value that is no longer the one of the forward pass. */
export function staleValue(
  op: string,
  { version, dtype, shape }: { version: Version; dtype: string; shape: Shape },
): StaleValueError {
  const name = version.label && `${version.label}, `
  return new StaleValueError(
    `${op}: ${name}${dtype} ${format(shape)} was changed by ${version.changedBy} after the forward pass used it; run the forward pass ` +
      'again, or change it after backward',
  )
}
