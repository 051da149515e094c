import { streamOf, type RandomWords as Words } from '../../kernels/random/index.ts'
import { currentRecomputation } from '../autograd/recomputation.ts'
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

/** What one op draws. */
export interface Drawing {
  /** Parameters of the random kernels for what was drawn last. */
  readonly words: Words
  /** Draws for the next replay of a capture. */
  next(): Words
  /** The same numbers once more. */
  repeated(): Drawing
}

/** A stream of its own for an op, and the next one in every replay; what is computed again for backward draws the same again. */
export function drawFrom(state: RandomState): Drawing {
  const make = (): Drawing => new Draw(state)
  return currentRecomputation()?.draw(make) ?? make()
}

class Draw implements Drawing {
  readonly #state: RandomState
  words: Words

  constructor(state: RandomState) {
    this.#state = state
    this.words = this.next()
  }

  next(): Words {
    const { seed, counter } = this.#state.next()
    this.words = streamOf(seed, counter)
    return this.words
  }

  repeated(): Drawing {
    return new Repetition(this)
  }
}

class Repetition implements Drawing {
  readonly #draw: Drawing

  constructor(draw: Drawing) {
    this.#draw = draw
  }

  get words(): Words {
    return this.#draw.words
  }

  next(): Words {
    return this.words
  }

  repeated(): Drawing {
    return this
  }
}
