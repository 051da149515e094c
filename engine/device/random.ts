import { checkWhole } from '../base/checks.ts'

/** The random stream of one op: `seed` is the key of the generator, `counter` the number of the stream. */
export interface RandomStream {
  seed: number
  counter: number
}

/** The state of counter-based random numbers (Philox). Every random op takes the next stream; two integers restore the state. */
export class RandomState {
  #counter = 0
  #seed = 0

  /** @throws ArgumentError unless the seed is a whole number in [0, 2^53) */
  constructor(seed = 0) {
    this.seed = seed
  }

  /**
   * A whole number in [0, 2^53), all of whose bits count. Setting it, also to the same value, restarts the streams at 0.
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

  /** The number of the next stream, a whole number in [0, 2^53). @throws ArgumentError for any other value */
  get counter(): number {
    return this.#counter
  }

  set counter(counter: number) {
    checkWhole('device.random', counter, 'counter', 0)
    this.#counter = counter
  }

  /** Takes the next stream. @internal */
  next(): RandomStream {
    return { seed: this.#seed, counter: this.#counter++ }
  }
}
