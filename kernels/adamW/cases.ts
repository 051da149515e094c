import type { Fill, KernelCase } from '../spec.ts'
import type { AdamW } from './adamW.ts'
import type { GradNorm } from './gradNorm.ts'

const SLOTS = 5
/** Slots of several blocks each, in order. */
const blockSlot =
  (blocks: number): Fill =>
  (block) =>
    Math.floor((block * SLOTS) / blocks)
/** stepSize, invSqrtBc2, decay, active: slot 2 is inactive. */
const slots: Fill = (index, random) => [1e-3 * (1 + random()), 1 + 30 * random(), 5e-5, Number(index >> 2 !== 2)][index & 3]!

interface Options {
  norm?: number
  maxNorm?: number
  fills?: Record<string, Fill>
  bench?: boolean
}

function adamWCase(
  name: string,
  blocks: number,
  { norm = 3, maxNorm = 1, fills = {}, bench = false }: Options = {},
): KernelCase<AdamW> {
  const size = blocks * 64
  return {
    name,
    problem: { blocks, beta1: 0.9, beta2: 0.999, complement1: 1 - 0.9, complement2: 1 - 0.999, eps: 1e-8, maxNorm },
    sizes: {
      values: size,
      gradients: size,
      firstMoments: size,
      secondMoments: size,
      blockSlot: blocks,
      slots: SLOTS * 4,
      norm: 1,
    },
    fills: {
      values: 'normal',
      firstMoments: 'normal',
      secondMoments: 'uniform',
      blockSlot: blockSlot(blocks),
      slots,
      norm: () => norm,
      ...fills,
    },
    bench,
  }
}

export const adamWCases: KernelCase<AdamW>[] = [
  ...[1, 7, 31, 33, 129, 257, 1025].map((blocks) => adamWCase(`${blocks} blocks`, blocks)),
  adamWCase('a norm below the limit', 7, { norm: 0.5 }),
  adamWCase('no clipping', 7, { maxNorm: 0 }),
  adamWCase('a NaN norm changes nothing', 7, { norm: Number.NaN }),
  adamWCase('an infinite norm changes nothing', 7, { norm: Number.POSITIVE_INFINITY, maxNorm: 0 }),
  adamWCase('NaN gradients of an inactive slot', 5, { fills: { gradients: (i) => (i >> 6 === 2 ? Number.NaN : 0.25) } }),
  adamWCase('zeros stay zeros', 5, {
    fills: { values: () => 0, gradients: () => 0, firstMoments: () => 0, secondMoments: () => 0 },
  }),
  adamWCase('tiny gradients, where eps counts', 5, {
    fills: { gradients: (_, random) => 1e-9 * random(), firstMoments: () => 0, secondMoments: () => 0 },
  }),
  adamWCase('7.3 M parameters', 114_063, { bench: true }),
]

function gradNormCase(name: string, blocks: number, chunk: number, fill: Fill = 'normal'): KernelCase<GradNorm> {
  return {
    name,
    problem: { blocks, chunk },
    sizes: { gradients: blocks * 64, blockSlot: blocks, slots: SLOTS * 4, partials: Math.ceil(blocks / chunk) },
    fills: { gradients: fill, blockSlot: blockSlot(blocks), slots },
    tolerance: 1e-6,
  }
}

export const gradNormCases: KernelCase<GradNorm>[] = [
  ...[1, 7, 31, 33, 129, 257, 1025].flatMap((blocks) => [
    gradNormCase(`${blocks} blocks in pieces of 8`, blocks, 8),
    gradNormCase(`${blocks} blocks in pieces of 3`, blocks, 3),
  ]),
  gradNormCase('NaN gradients of an inactive slot', 5, 2, (i) => (i >> 6 === 2 ? Number.NaN : 0.25)),
  gradNormCase('a NaN gradient', 5, 2, (i) => (i === 70 ? Number.NaN : 0.25)),
  gradNormCase('1e6 gradients in one piece', 15_625, 15_625, 'uniform'),
  { ...gradNormCase('7.3 M parameters', 114_063, 112), bench: true },
]

export const normFinalCases: KernelCase<{ count: number }>[] = [1, 7, 31, 33, 129, 257, 1025].map((count) => ({
  name: `${count}`,
  problem: { count },
  sizes: { partials: count, norm: 1 },
  fills: { partials: 'uniform' },
  tolerance: 1e-6,
}))
