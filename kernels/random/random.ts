import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, type Param, reads, scalars, writes } from '../spec.ts'
import dropoutSource from './dropout.wgsl'
import randomSource from './random.wgsl'

/** A stream of random words. The seed is the Philox key and the stream the upper half of its counter; element i is word i. */
export interface RandomWords {
  seedLow: number
  seedHigh: number
  streamLow: number
  streamHigh: number
}

/** Returns the stream of a seed and of a stream's number, both whole numbers in [0, 2^53). */
export function streamOf(seed: number, stream: number): RandomWords {
  return { seedLow: seed >>> 0, seedHigh: upper(seed), streamLow: stream >>> 0, streamHigh: upper(stream) }
}

function upper(n: number): number {
  return Math.floor(n / 2 ** 32)
}

const streamParams: Param[] = [
  ...scalars('u32', 'seedLow', 'seedHigh'),
  { name: 'streamLow', type: 'u32', branchStep: 'streamStep' },
  { name: 'streamHigh', type: 'u32' },
  { name: 'streamStep', type: 'u32', optional: true },
]

export interface Random extends RandomWords {
  count: number
  distribution: 'uniform' | 'normal'
}

/** y [count]: float32 numbers that are uniform in [0, 1) with 24 bits, or standard normal by Box-Muller. */
export const random: KernelSpec<Random> = {
  name: 'random',
  bindings: writes('f32', 'y'),
  params: [branchStrides(1), ...scalars('u32', 'count'), ...streamParams],
  variants: [countVariant(randomSource, ({ distribution }) => ({ NORMAL: distribution === 'normal' }))],
  flops: ({ count }) => count,
  bytes: ({ count }) => 4 * count,
}

export interface Dropout extends RandomWords {
  count: number
  /** The number p * 2^32: elements whose random word is below it become 0. */
  threshold: number
  /** 1 / (1 - p), the factor of the other elements. */
  scale: number
}

/** Makes the problem of `dropout`. @param p the probability of 0, in [0, 1] */
export function dropoutProblem(count: number, p: number, stream: RandomWords): Dropout {
  // With p = 1 the threshold leaves one word of 2^32 out, and the scale of 0 drops its elements too.
  return { count, threshold: Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1), scale: p < 1 ? 1 / (1 - p) : 0, ...stream }
}

/** y [count] is x * 0 with probability p, so that NaN stays NaN, and else x / (1 - p). The kernel is its own backward. */
export const dropout: KernelSpec<Dropout> = {
  name: 'dropout',
  bindings: [...reads('f32', 'x'), ...writes('f32', 'y')],
  params: [branchStrides(2), ...scalars('u32', 'count', 'threshold'), ...scalars('f32', 'scale'), ...streamParams],
  variants: [countVariant(dropoutSource)],
  flops: ({ count }) => count,
  bytes: ({ count }) => 8 * count,
}
