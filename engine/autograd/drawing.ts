import { type RandomWords, streamOf } from '../../kernels/random/index.ts'
import type { RandomState } from '../device/random.ts'
import type { Drawing } from './recomputation.ts'
import { currentRecomputation } from './recomputation.ts'

/** A stream of its own for an op, and the next one in every replay; what is computed again for backward draws the same again. */
export function drawFrom(state: RandomState): Drawing {
  const make = (): Drawing => new Draw(state)
  return currentRecomputation()?.draw(make) ?? make()
}

class Draw implements Drawing {
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

  repeated(): Drawing {
    return new Repetition(this)
  }
}

class Repetition implements Drawing {
  readonly #draw: Drawing

  constructor(draw: Drawing) {
    this.#draw = draw
  }

  get words(): RandomWords {
    return this.#draw.words
  }

  next(): RandomWords {
    return this.words
  }

  repeated(): Drawing {
    return this
  }
}
