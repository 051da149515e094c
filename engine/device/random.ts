import { checkWhole } from '../base/checks.ts'

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
  #counter = 0
  #seed = 0

  /** @throws ArgumentError for a seed that is no whole number in [0, 2^53) */
  constructor(seed = 0) {
    this.seed = seed
  }

  /**
   * A whole number in [0, 2^53), all of whose bits count. Setting it starts the numbers anew, also to the same seed.
   * @throws ArgumentError for any other value
   */
  get seed(): number {
    return this.#seed
  }

  set seed(seed: number) {
    checkWhole('device.random', seed, 'seed', 0)
    this.#seed = seed
    this.#counter = 0
  }

  /** Stream numbers handed out since the seed was set, a whole number in [0, 2^53). @throws ArgumentError for any other value */
  get counter(): number {
    return this.#counter
  }

  set counter(counter: number) {
    checkWhole('device.random', counter, 'counter', 0)
    this.#counter = counter
  }

  /** The stream for one op. */
  next(): RandomStream {
    return { seed: this.#seed, counter: this.#counter++ }
  }
}
