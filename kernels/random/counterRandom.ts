import { type PhiloxKey, philox4x32 } from './philox.ts'

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
