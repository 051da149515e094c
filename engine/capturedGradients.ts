import type { Storage } from './memory/storage.ts'
import { withoutScope } from './tensor/scope.ts'
import { type Tensor, watchGradients } from './tensor/tensor.ts'

/** What a recording does on the host to the gradient of a leaf that was made outside. */
class CapturedGradient {
  readonly #leaf: Tensor
  /** The gradient that it found. */
  readonly #found: Tensor | undefined
  /** Where the leaf's gradient must come to lie, if anywhere. */
  readonly #slot: Storage | undefined
  /** The gradient that it left behind. */
  readonly left: Tensor | undefined

  constructor(leaf: Tensor, found: Tensor | undefined) {
    this.#leaf = leaf
    this.#found = found
    this.#slot = leaf.gradSlot?.storage
    const { grad } = leaf
    this.left = grad && !grad.disposed ? withoutScope(() => grad.detach()) : undefined
  }

  /** Whether a replay finds the gradient that recording found, or none as it did. */
  get agrees(): boolean {
    return isAt(this.#leaf.grad, this.#found)
  }

  /** Whether that can never be again. */
  get spent(): boolean {
    const found = this.#found
    return this.#leaf.gradSlot?.storage !== this.#slot || (!!found?.disposed && found.storage !== this.#slot)
  }

  /** Leaves behind what recording left behind. */
  leave(): void {
    const [leaf, left] = [this.#leaf, this.left]
    if (isAt(leaf.grad, left)) return
    leaf.grad?.dispose()
    leaf.grad = left && withoutScope(() => left.detach()).joinScopeOf(leaf)
  }
}

/** Whether both are there and lie at the same place, or neither is there. */
function isAt(a: Tensor | undefined, b: Tensor | undefined): boolean {
  return a?.storage === b?.storage && a?.offset === b?.offset
}

/**
 * The gradients of leaves made outside that a recording reads, adds to, sets or clears: a replay is right only where it finds them as
 * recording did, and must leave behind what that left.
 */
export class CapturedGradients {
  /** By leaf the gradient that was found, and a view that keeps its memory. */
  readonly #found = new Map<Tensor, { grad: Tensor; view: Tensor } | undefined>()
  #all: readonly CapturedGradient[] = []

  /** Runs `fn`, which records. When it throws, leaves have the gradients from before: nothing of it is executed. */
  watch<T>(fn: () => T): T {
    const see = (leaf: Tensor, grad: Tensor | undefined) => {
      if (this.#found.has(leaf)) return
      this.#found.set(leaf, grad && !grad.disposed ? { grad, view: withoutScope(() => grad.detach()) } : undefined)
    }
    try {
      return watchGradients(see, fn)
    } catch (error) {
      this.undo()
      throw error
    }
  }

  /** Gives leaves the gradients from before recording, of which nothing comes. */
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

  /** Recording has ended; `keep` or `undo` follows. @param isInside whether it made the tensor */
  end(isInside: (leaf: Tensor) => boolean): void {
    const outside = [...this.#found].filter(([leaf]) => !leaf.disposed && !isInside(leaf))
    this.#all = outside.map(([leaf, found]) => new CapturedGradient(leaf, found?.grad))
  }

  /** The recording is to be replayed. */
  keep(): void {
    for (const found of this.#found.values()) found?.view.dispose()
    this.#found.clear()
  }

  get agree(): boolean {
    return this.#all.every(({ agrees }) => agrees)
  }

  get spent(): boolean {
    return this.#all.some(({ spent }) => spent)
  }

  /** Those that it left behind. */
  get left(): Tensor[] {
    return this.#all.flatMap(({ left }) => left ?? [])
  }

  leave(): void {
    for (const one of this.#all) one.leave()
  }

  dispose(): void {
    for (const { left } of this.#all) left?.dispose()
  }
}
