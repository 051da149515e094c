import { type PhiloxKey, philox4x32 } from '../../kernels/random/philox.ts'

/** The purpose of random numbers, a word of their subsequence that keeps those of one seed apart. */
export const Purpose = { shuffle: 1, augment: 2, split: 3, bootstrap: 4, scheme: 5, tuning: 6 } as const

/** Philox random numbers that are a pure function of (seed, subsequence), so that no state is saved and all threads agree. */
export class CounterRandom {
  readonly #key: PhiloxKey
  readonly #subsequence: readonly [number, number, number]
  #block: Uint32Array = new Uint32Array(4)
  #used = 4
  #counter = 0

  /** @param subsequence three 32-bit words, such as sample, epoch, purpose */
  constructor(seed: number, subsequence: readonly [number, number, number]) {
    this.#key = [seed >>> 0, Math.floor(seed / 0x100000000) >>> 0]
    this.#subsequence = subsequence
  }

  /** Draws an unsigned 32-bit word. */
  word(): number {
    if (this.#used === 4) {
      this.#block = philox4x32([this.#counter++, ...this.#subsequence], this.#key)
      this.#used = 0
    }
    return this.#block[this.#used++]!
  }

  /** Draws a number uniformly from [0, 1). */
  uniform(): number {
    return this.word() / 0x100000000
  }

  /** Draws a whole number from [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n)
  }
}

/** Shuffles in place (Fisher-Yates) and returns the same array. */
export function shuffle(items: Int32Array, random: CounterRandom): Int32Array {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const item = items[i]!
    items[i] = items[j]!
    items[j] = item
  }
  return items
}

/**
 * Splits 0..count-1 at random into a training and a validation part, each in ascending order.
 * @param fraction the share of the validation part, in [0, 1)
 */
export function splitIndices(count: number, fraction: number, seed: number) {
  const order = Int32Array.from({ length: count }, (_, i) => i)
  shuffle(order, new CounterRandom(seed, [0, 0, Purpose.split]))
  const validation = Math.round(count * fraction)
  return { train: order.slice(validation).sort(), validation: order.slice(0, validation).sort() }
}
