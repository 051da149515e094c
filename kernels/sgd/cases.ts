import type { Fill, KernelCase } from '../spec.ts'
import type { Sgd } from './sgd.ts'

const SLOTS = 5
/** Rows of `slots`: lr, the gradient's part, decay, and the factor of the gradient, which leaves slot 2 as it is. */
const slots: Fill = (index, random) => [1e-2 * (1 + random()), 0.9, 0.05, index >> 2 === 2 ? -1 : 0.3][index & 3]!

function sgdCase(name: string, blocks: number, options: Partial<Sgd> & { fill?: Fill; bench?: boolean } = {}): KernelCase<Sgd> {
  const { momentum = 0.9, nesterov = 0, fill = 'normal', bench = false } = options
  const size = 64 * blocks
  return {
    name,
    problem: { blocks, momentum, nesterov },
    sizes: {
      values: size,
      gradients: size,
      momentumBuffer: momentum === 0 ? 1 : size,
      blockSlot: blocks,
      slots: 4 * SLOTS,
    },
    fills: {
      values: 'normal',
      gradients: fill,
      momentumBuffer: 'normal',
      blockSlot: (block) => Math.floor((block * SLOTS) / blocks),
      slots,
    },
    bench,
  }
}

export const sgdCases: KernelCase<Sgd>[] = [
  ...[1, 7, 33, 257, 1025].map((blocks) => sgdCase(`${blocks} blocks`, blocks)),
  sgdCase('without momentum', 33, { momentum: 0 }),
  sgdCase('without momentum, Nesterov asked for', 7, { momentum: 0, nesterov: 1 }),
  sgdCase("Nesterov's momentum", 33, { nesterov: 1 }),
  sgdCase('NaN gradients of an inactive slot', 5, { fill: (i) => (i >> 6 === 2 ? Number.NaN : 0.25) }),
  sgdCase('7.3 M parameters', 114_063, { bench: true }),
]
