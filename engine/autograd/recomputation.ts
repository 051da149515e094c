import type { RandomWords } from '../../kernels/random/index.ts'
import { staleValue, type Version } from '../memory/version.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** What one op draws. */
export interface Drawing {
  /** Parameters of the random kernels for what was drawn last. */
  readonly words: RandomWords
  /** Draws for the next replay of a capture. */
  next(): RandomWords
  /** The same numbers once more. */
  repeated(): Drawing
}

/** A node of the tape that takes the tensors that its op would have saved. */
export interface Restorable {
  restore(saved: readonly Tensor[]): void
}

let current: Recomputation | undefined

/** The innermost one that is computed now, for the first time or again. */
export function currentRecomputation(): Recomputation | undefined {
  return current
}

/** A part of a forward pass that keeps its inputs only; what its ops save is computed again when backward first reads it. */
export class Recomputation {
  readonly #run: (inputs: readonly Tensor[]) => void
  readonly #outer = current
  /** Those that saved something, in order. */
  readonly #nodes: Restorable[] = []
  readonly #draws: Drawing[] = []
  /** Changes, so far, of the tensors that its ops read. */
  readonly #counts = new Map<Version, number>()
  #inputs: readonly Tensor[]
  /** Nodes that backward has not been through. */
  #waiting = 0
  #done = false
  /** While it computes again: the nodes and draws it came by. */
  #again: { nodes: number; draws: number } | undefined

  /**
   * @param inputs are disposed when they are no longer needed
   * @param run computes it again, on the tape
   */
  constructor(inputs: readonly Tensor[], run: (inputs: readonly Tensor[]) => void) {
    this.#inputs = inputs
    this.#run = run
  }

  /** Runs `fn`, which computes it for the first time. */
  first<T>(fn: () => T): T {
    try {
      return this.#inside(fn)
    } finally {
      if (this.#waiting === 0) this.#dropInputs()
    }
  }

  /**
   * An op of it reads these tensors.
   * @throws StaleValueError when it computes again and one was changed in place since the first time
   */
  reads(op: string, inputs: readonly (Tensor | undefined)[]): void {
    for (const input of inputs) {
      if (!input) continue
      const { version } = input
      const count = this.#counts.get(version)
      if (!this.#again) {
        if (count === undefined) this.#counts.set(version, version.count)
      } else if (count !== undefined && count !== version.count) throw staleValue(`${op}, recomputed for backward`, input)
    }
    this.#outer?.reads(op, inputs)
  }

  /**
   * What an op of it saves: the first time it is dropped, again the node of the first time gets it.
   * @returns whether it was dropped, so that `node` must ask for it
   */
  save(node: Restorable, tensors: () => readonly Tensor[]): boolean {
    if (this.#again) {
      this.#nodes[this.#again.nodes++]?.restore(tensors())
      return false
    }
    this.#nodes.push(node)
    this.#waiting++
    return true
  }

  /** What a random op of it draws: again the same as the first time, in replays of a capture too. */
  draw(make: () => Drawing): Drawing {
    if (this.#again) {
      const draw = this.#draws[this.#again.draws++]
      return draw ? draw.repeated() : make()
    }
    const draw = this.#outer ? this.#outer.draw(make) : make()
    this.#draws.push(draw)
    return draw
  }

  /**
   * Computes it again, unless that was done.
   * @throws Error when it does not do the same as the first time
   */
  compute(): void {
    if (this.#done) return
    this.#done = true
    this.#followMoved()
    this.#again = { nodes: 0, draws: 0 }
    try {
      this.#inside(() => this.#run(this.#inputs))
      const { nodes, draws } = this.#again
      if (nodes !== this.#nodes.length || draws !== this.#draws.length) {
        throw new Error('recompute: the function did not do the same when it ran again for backward')
      }
    } finally {
      this.#again = undefined
      this.#dropInputs()
    }
  }

  /** Parameters may lie in an arena since: what counts their changes there stands in for what did before. */
  #followMoved(): void {
    for (const [version, count] of [...this.#counts]) {
      if (!version.moved) continue
      const now = version.latest(count)
      this.#counts.set(now.version, now.count)
    }
  }

  /** Backward has been through a node, or never will. */
  leave(): void {
    if (--this.#waiting === 0) this.#dropInputs()
  }

  #inside<T>(fn: () => T): T {
    const outer = current
    current = this
    try {
      return fn()
    } finally {
      current = outer
    }
  }

  #dropInputs(): void {
    for (const t of this.#inputs) t.dispose()
    this.#inputs = []
  }
}
