import { streamOf, type Stream as Words } from '../kernels/random/index.ts'

/** A place in the random numbers of a run: `seed` is the key, `counter` the stream of one op. */
export interface RandomStream {
  seed: number
  counter: number
}

/**
 * Counter-based random state (Philox): every random op takes the next stream number, so that a seed fixes a run and two
 * integers restore it.
 */
export class RandomState {
  /** Stream numbers handed out since the seed was set. */
  counter = 0
  #seed: number

  constructor(seed = 0) {
    this.#seed = seed
  }

  /** A whole number in [0, 2^53). Setting it starts the numbers anew, also to the same seed. */
  get seed(): number {
    return this.#seed
  }

  set seed(seed: number) {
    this.#seed = seed
    this.counter = 0
  }

  /** The stream for one op. */
  next(): RandomStream {
    return { seed: this.#seed, counter: this.counter++ }
  }
}

/** What one op draws: a stream of its own, and the next one in every replay of a capture. */
export class Draw {
  readonly #state: RandomState
  #words: Words

  constructor(state: RandomState) {
    this.#state = state
    this.#words = Draw.#take(state)
  }

  /** Parameters of the random kernels for what was drawn last. */
  get words(): Words {
    return this.#words
  }

  /** Draws anew. */
  next(): Words {
    this.#words = Draw.#take(this.#state)
    return this.#words
  }

  static #take(state: RandomState): Words {
    const { seed, counter } = state.next()
    return streamOf(seed, counter)
  }
}
