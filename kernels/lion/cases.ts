import type { Fill, KernelCase } from '../spec.ts'
import type { Lion } from './lion.ts'

const SLOTS = 5
/** Rows of `slots`: lr, nothing, decay, and the factor of the gradient, which leaves slot 2 as it is. */
const slots: Fill = (index, random) => [1e-2 * (1 + random()), 0, 5e-4, index >> 2 === 2 ? -1 : 0.5][index & 3]!
/** Numbers of both signs that are not small, so that rounding does not turn the sign of a sum. */
const coarse: Fill = (_, random) => Math.ceil(8 * random() - 4) - 0.5

function lionCase(name: string, blocks: number, fills: Record<string, Fill> = {}, bench = false): KernelCase<Lion> {
  const size = 64 * blocks
  return {
    name,
    problem: { blocks, beta1: 0.9, beta2: 0.99, complement1: 1 - 0.9, complement2: 1 - 0.99 },
    sizes: { values: size, gradients: size, momentumBuffer: size, blockSlot: blocks, slots: 4 * SLOTS },
    fills: {
      values: 'normal',
      gradients: coarse,
      momentumBuffer: coarse,
      blockSlot: (block) => Math.floor((block * SLOTS) / blocks),
      slots,
      ...fills,
    },
    bench,
  }
}

export const lionCases: KernelCase<Lion>[] = [
  ...[1, 7, 33, 257, 1025].map((blocks) => lionCase(`${blocks} blocks`, blocks)),
  lionCase('zeros stay zeros', 5, { values: () => 0, gradients: () => 0, momentumBuffer: () => 0 }),
  lionCase('NaN gradients of an inactive slot', 5, { gradients: (i) => (i >> 6 === 2 ? Number.NaN : 0.25) }),
  lionCase('7.3 M parameters', 114_063, {}, true),
]
