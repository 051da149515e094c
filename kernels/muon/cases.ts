import type { Fill, KernelCase } from '../spec.ts'
import type { MuonMomentum, MuonUpdate } from './muon.ts'

const SLOTS = 5
/** Rows of `slots`: lr, scale, decay, and the factor of the gradient, which leaves slot 2 as it is. */
const slots: Fill = (index, random) => [1e-2 * (1 + random()), 2, 5e-4, index >> 2 === 2 ? -1 : 0.5][index & 3]!

/** Blocks in order for slots; every seventh block belongs to others, and the places go from the last block to the first. */
function places(blocks: number): { sizes: Record<string, number>; fills: Record<string, Fill> } {
  return {
    sizes: { blockSlot: blocks, blockPlace: blocks, slots: 4 * SLOTS, directions: 64 * blocks },
    fills: {
      blockSlot: (block) => Math.floor((block * SLOTS) / blocks),
      blockPlace: (block) => (block % 7 === 6 ? -1 : blocks - 1 - block),
      slots,
    },
  }
}

function momentumCase(
  name: string,
  blocks: number,
  { nesterov = 1, momentum = 0.95, gradients = 'normal' as Fill, bench = false } = {},
): KernelCase<MuonMomentum> {
  const { sizes, fills } = places(blocks)
  return {
    name,
    problem: { blocks, momentum, complement: 1 - momentum, nesterov },
    sizes: { ...sizes, gradients: 64 * blocks, momentumBuffer: 64 * blocks },
    fills: { ...fills, gradients, momentumBuffer: 'normal' },
    bench,
  }
}

function updateCase(name: string, blocks: number, bench = false): KernelCase<MuonUpdate> {
  const { sizes, fills } = places(blocks)
  return {
    name,
    problem: { blocks },
    sizes: { ...sizes, values: 64 * blocks },
    fills: { ...fills, values: 'normal', directions: 'normal' },
    bench,
  }
}

const SIZES = [1, 7, 33, 257, 1025]

export const muonMomentumCases: KernelCase<MuonMomentum>[] = [
  ...SIZES.map((blocks) => momentumCase(`${blocks} blocks`, blocks)),
  momentumCase("without Nesterov's momentum", 33, { nesterov: 0 }),
  momentumCase('without momentum', 7, { momentum: 0 }),
  momentumCase('NaN gradients of an inactive slot', 5, { gradients: (i) => (i >> 6 === 2 ? Number.NaN : 0.25) }),
  momentumCase('7.3 M parameters', 114_063, { bench: true }),
]

export const muonUpdateCases: KernelCase<MuonUpdate>[] = [
  ...SIZES.map((blocks) => updateCase(`${blocks} blocks`, blocks)),
  updateCase('7.3 M parameters', 114_063, true),
]
