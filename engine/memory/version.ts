import { StaleValueError } from '../base/errors.ts'
import { format, type Shape } from '../layout/shape.ts'

/** Learns of changes of memory in place, see `Version`. */
export interface Changeable {
  /** Counts a change. @param by the op that makes it */
  change(by: string): void
  /** Whether the tensor has moved to other memory. */
  readonly moved: boolean
}

let changes = 0

/** Returns the number of changes of all memory so far. */
export function changesSoFar(): number {
  return changes
}

/**
 * Counts in-place changes of the memory of a tensor and its views, so that backward notices when a value that it saved is no longer the one
 * that the forward pass used (PyTorch's version counter).
 */
export class Version implements Changeable {
  /** The memory that contains this part, as an arena contains a slot: a change of the whole changes every part. */
  readonly #whole: Version | undefined
  #own = 0
  #ofParts = 0
  #changedBy = ''
  #changedAt = 0
  /** The name of the parameter in this memory, for errors. */
  label = ''
  #successor: { version: Version; count: number; leftAt: number } | undefined

  constructor(whole?: Version) {
    this.#whole = whole
  }

  get moved(): boolean {
    return this.#successor !== undefined
  }

  /** Notes that the tensor has moved, with its values, to other memory, whose changes `version` counts. */
  moveTo(version: Version): void {
    this.#successor = { version, count: version.count, leftAt: this.count }
  }

  /**
   * Follows the tensor to where it lies now.
   * @param count a number of changes counted here
   * @returns the version that counts the tensor's changes now, and the number there for the same values: -1 when they changed before the move
   */
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

  /** `changesSoFar()` at the last change. */
  get changedAt(): number {
    return this.#latest().#changedAt
  }

  /** Returns the version that changed last: this one or one that contains it. */
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

/** Joins the versions of tensors that lie in the same memory: a change of it counts for each of them. */
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

/** Makes the error that backward throws when a value that `op` saved has changed since the forward pass. */
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
