import { type RandomWords, streamOf } from '../../kernels/random/index.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import type { RandomState } from '../device/random.ts'
import { staleValue, type Version } from '../memory/version.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** The random stream of one op, as parameters of the random kernels. */
export interface RandomDraw {
  /** The stream drawn last. */
  readonly words: RandomWords
  /** Draws the stream of the next replay of a capture. */
  next(): RandomWords
}

class FreshDraw implements RandomDraw {
  readonly #state: RandomState
  words: RandomWords

  constructor(state: RandomState) {
    this.#state = state
    this.words = this.next()
  }

  next(): RandomWords {
    const { seed, counter } = this.#state.next()
    this.words = streamOf(seed, counter)
    return this.words
  }
}

/** Makes a draw that gives the streams of another draw again, in replays too. */
export function repeat(draw: RandomDraw): RandomDraw {
  return {
    get words() {
      return draw.words
    },
    next: () => draw.words,
  }
}

/** Draws a random stream for an op. A part that runs again for backward draws the streams of its first run. */
export function drawStream(state: RandomState): RandomDraw {
  const draw = () => new FreshDraw(state)
  return innermostRecomputation.current?.draw(draw) ?? draw()
}

/** A node of the tape that can take its saved tensors later. */
export interface Restorable {
  restore(saved: readonly Tensor[]): void
}

/** The innermost recomputation whose function is running, for the first time or again. */
export const innermostRecomputation = new ContextVariable<Recomputation | undefined>(undefined)

/** A part of a forward pass that keeps only its inputs. It runs again when backward first reads a tensor that one of its ops saved. */
export class Recomputation {
  readonly #run: (inputs: readonly Tensor[]) => void
  readonly #outer = innermostRecomputation.current
  /** The nodes that saved tensors in the first run, in order. */
  readonly #nodes: Restorable[] = []
  readonly #draws: RandomDraw[] = []
  /** For each tensor that the part's ops read, by its version, the count of the version in the first run. */
  readonly #counts = new Map<Version, number>()
  #inputs: readonly Tensor[]
  /** How many of the nodes backward has yet to visit. */
  #waiting = 0
  #done = false
  /** While the part runs again for backward, the number of nodes and of draws that this run has reached. */
  #again: { nodes: number; draws: number } | undefined

  /**
   * @param inputs tensors that are disposed as soon as they are not needed any more
   * @param run runs the part again, on the tape
   */
  constructor(inputs: readonly Tensor[], run: (inputs: readonly Tensor[]) => void) {
    this.#inputs = inputs
    this.#run = run
  }

  /** Runs `fn`, the first run of the part. */
  first<T>(fn: () => T): T {
    try {
      return innermostRecomputation.run(this, fn)
    } finally {
      if (this.#waiting === 0) this.#dropInputs()
    }
  }

  /**
   * Notes the versions of tensors that an op of the part reads.
   * @throws StaleValueError in the second run when a tensor was changed in place since the first
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
   * Notes in the first run that a node saves tensors, which are dropped. The second run gives the tensors to the node of the first.
   * @returns whether the tensors were dropped, so that `node` must call `compute` for them
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

  /** Draws for a random op of the part. The second run gives the draws of the first, in replays of a capture too. */
  draw(fresh: () => RandomDraw): RandomDraw {
    if (this.#again) {
      const first = this.#draws[this.#again.draws++]
      return first ? repeat(first) : fresh()
    }
    const draw = this.#outer ? this.#outer.draw(fresh) : fresh()
    this.#draws.push(draw)
    return draw
  }

  /** Runs the part again, unless that is done. @throws Error when the second run has other saving or random ops than the first */
  compute(): void {
    if (this.#done) return
    this.#done = true
    this.#followMoved()
    this.#again = { nodes: 0, draws: 0 }
    try {
      innermostRecomputation.run(this, () => this.#run(this.#inputs))
      const { nodes, draws } = this.#again
      if (nodes !== this.#nodes.length || draws !== this.#draws.length) {
        throw new Error('recompute: the function did not do the same when it ran again for backward')
      }
    } finally {
      this.#again = undefined
      this.#dropInputs()
    }
  }

  /** Looks up the new versions of parameters that have moved into an arena since the first run. */
  #followMoved(): void {
    for (const [version, count] of [...this.#counts]) {
      if (!version.moved) continue
      const now = version.latest(count)
      this.#counts.set(now.version, now.count)
    }
  }

  /** Notes that backward has visited a node, or never will. */
  leave(): void {
    if (--this.#waiting === 0) this.#dropInputs()
  }

  #dropInputs(): void {
    for (const t of this.#inputs) t.dispose()
    this.#inputs = []
  }
}
