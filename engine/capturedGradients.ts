import type { Storage } from './memory/storage.ts'
import { withoutScope } from './tensor/scope.ts'
import { gradientWatcher, type Tensor } from './tensor/tensor.ts'

/** The gradient, before and after a recording, of a leaf that was made outside it. */
class CapturedGradient {
  readonly #leaf: Tensor
  /** The gradient before the recording. */
  readonly #found: Tensor | undefined
  /** The storage of the leaf's gradient slot in an arena, if any. */
  readonly #slot: Storage | undefined
  /** A view of the gradient after the recording. */
  readonly left: Tensor | undefined

  constructor(leaf: Tensor, found: Tensor | undefined) {
    this.#leaf = leaf
    this.#found = found
    this.#slot = leaf.gradSlot?.storage
    const { grad } = leaf
    this.left = grad && !grad.disposed ? withoutScope(() => grad.detach()) : undefined
  }

  /** Whether the leaf has the gradient that the recording found, or has none if the recording found none. */
  get agrees(): boolean {
    return isAt(this.#leaf.grad, this.#found)
  }

  /** Whether `agrees` can never be true again, so that the recording is of no use. */
  get stale(): boolean {
    const found = this.#found
    return this.#leaf.gradSlot?.storage !== this.#slot || (!!found?.disposed && found.storage !== this.#slot)
  }

  /** Sets the leaf's gradient to what it was after the recording. */
  restore(): void {
    const [leaf, left] = [this.#leaf, this.left]
    if (isAt(leaf.grad, left)) return
    leaf.grad?.dispose()
    leaf.grad = left && withoutScope(() => left.detach()).joinScopeOf(leaf)
  }
}

/** Tells whether both tensors lie at the same place, or both are undefined. */
function isAt(a: Tensor | undefined, b: Tensor | undefined): boolean {
  return a?.storage === b?.storage && a?.offset === b?.offset
}

/**
 * The gradients of leaves from outside that a recording reads, adds to, sets or clears. A replay is valid only if it finds them as the
 * recording did, and it must leave them as the recording did.
 */
export class CapturedGradients {
  /** By leaf, the gradient before the recording, and a view that keeps its memory alive. */
  readonly #found = new Map<Tensor, { grad: Tensor; view: Tensor } | undefined>()
  #all: readonly CapturedGradient[] = []

  /** Runs `fn`, which records. If it throws, the leaves get back their gradients, since nothing of the recording is executed. */
  watch<T>(fn: () => T): T {
    const note = (leaf: Tensor, grad: Tensor | undefined) => {
      if (this.#found.has(leaf)) return
      this.#found.set(leaf, grad && !grad.disposed ? { grad, view: withoutScope(() => grad.detach()) } : undefined)
    }
    try {
      return gradientWatcher.run(note, fn)
    } catch (error) {
      this.undo()
      throw error
    }
  }

  /** Drops the recording, and gives the leaves back the gradients that they had before it. */
  undo(): void {
    this.dispose()
    for (const [leaf, found] of this.#found) {
      if (leaf.disposed || leaf.grad === found?.grad) found?.view.dispose()
      else {
        leaf.grad?.dispose()
        leaf.grad = found?.view.joinScopeOf(leaf)
      }
    }
    this.#found.clear()
  }

  /** Ends the recording; `keep` or `undo` follows. @param isInside tells whether the recording made a leaf */
  end(isInside: (leaf: Tensor) => boolean): void {
    const outside = [...this.#found].filter(([leaf]) => !leaf.disposed && !isInside(leaf))
    this.#all = outside.map(([leaf, found]) => new CapturedGradient(leaf, found?.grad))
  }

  /** Ends the bookkeeping of a recording that will be replayed: drops the views that kept earlier gradients alive. */
  keep(): void {
    for (const found of this.#found.values()) found?.view.dispose()
    this.#found.clear()
  }

  /** Whether a replay finds all gradients as the recording did. */
  get agree(): boolean {
    return this.#all.every(({ agrees }) => agrees)
  }

  /** Whether `agree` can never be true again, so that the recording is of no use. */
  get stale(): boolean {
    return this.#all.some(({ stale }) => stale)
  }

  /** The gradients after the recording. */
  get left(): Tensor[] {
    return this.#all.flatMap(({ left }) => left ?? [])
  }

  /** Sets the gradients of all leaves as they were after the recording. */
  restore(): void {
    for (const gradient of this.#all) gradient.restore()
  }

  dispose(): void {
    for (const { left } of this.#all) left?.dispose()
  }
}
