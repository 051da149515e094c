import { flatConstants, flatGrid } from '../runs.ts'
import { branchStrides, type KernelSpec, type Param } from '../spec.ts'
import dropoutSource from './dropout.wgsl'
import randomSource from './random.wgsl'

/** Which random numbers: the seed is the Philox key, the stream the upper half of its counter; element i is word i. */
export interface RandomWords {
  seedLow: number
  seedHigh: number
  streamLow: number
  streamHigh: number
}

/** A stream from two whole numbers in [0, 2^53). */
export function streamOf(seed: number, stream: number): RandomWords {
  return { seedLow: seed >>> 0, seedHigh: upper(seed), streamLow: stream >>> 0, streamHigh: upper(stream) }
}

function upper(n: number): number {
  return Math.floor(n / 2 ** 32)
}

const streamParams: Param[] = [
  { name: 'seedLow', type: 'u32' },
  { name: 'seedHigh', type: 'u32' },
  { name: 'streamLow', type: 'u32', branchStep: 'streamStep' },
  { name: 'streamHigh', type: 'u32' },
  { name: 'streamStep', type: 'u32', optional: true },
]

export interface Random extends RandomWords {
  count: number
  distribution: 'uniform' | 'normal'
}

/** `count` float32 numbers: uniform in [0, 1) with 24 bits, or standard normal (Box-Muller). */
export const random: KernelSpec<Random> = {
  name: 'random',
  bindings: [{ name: 'y', access: 'read_write', dtype: 'f32' }],
  params: [branchStrides(1), { name: 'count', type: 'u32' }, ...streamParams],
  variants: [
    {
      name: 'flat',
      source: randomSource,
      constants: (problem, device) => ({ NORMAL: problem.distribution === 'normal', ...flatConstants(problem, device) }),
      grid: flatGrid,
    },
  ],
  flops: ({ count }) => count,
  bytes: ({ count }) => 4 * count,
}

export interface Dropout extends RandomWords {
  count: number
  /** Elements whose word is below it become 0: p 2^32. */
  threshold: number
  /** What the others are multiplied by: 1 / (1 - p). */
  scale: number
}

/** @param p probability of 0, in [0, 1] */
export function dropoutProblem(count: number, p: number, stream: RandomWords): Dropout {
  // With p = 1 the threshold ends one word short of all, and the scale takes the rest.
  return { count, threshold: Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1), scale: p < 1 ? 1 / (1 - p) : 0, ...stream }
}

/** y = x / (1 - p), or x 0 with probability p (NaN stays NaN); its own backward. */
export const dropout: KernelSpec<Dropout> = {
  name: 'dropout',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    branchStrides(2),
    { name: 'count', type: 'u32' },
    { name: 'threshold', type: 'u32' },
    { name: 'scale', type: 'f32' },
    ...streamParams,
  ],
  variants: [{ name: 'flat', source: dropoutSource, constants: flatConstants, grid: flatGrid }],
  flops: ({ count }) => count,
  bytes: ({ count }) => 8 * count,
}
