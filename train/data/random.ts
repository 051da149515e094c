import { CounterRandom } from '../../kernels/random/counterRandom.ts'

/** The purpose of random numbers, a word of their subsequence that keeps those of one seed apart. */
export const Purpose = { shuffle: 1, augment: 2, split: 3, bootstrap: 4, scheme: 5, tuning: 6 } as const

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
