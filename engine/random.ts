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
  /** A whole number in [0, 2^53). */
  seed: number
  /** Stream numbers handed out so far. */
  counter = 0

  constructor(seed = 0) {
    this.seed = seed
  }

  /** The stream for one op. */
  next(): RandomStream {
    return { seed: this.seed, counter: this.counter++ }
  }
}
