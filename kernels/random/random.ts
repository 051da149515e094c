import { countVariant } from '../runs.ts'
import { branchStrides, ceilDiv, grid1d, type KernelSpec, type Param, reads, scalars, writes } from '../spec.ts'
import bernoulliSource from './bernoulli.wgsl'
import dropoutSource from './dropout.wgsl'
import multinomialSource from './multinomial.wgsl'
import distinctSource from './multinomialDistinct.wgsl'
import randomSource from './random.wgsl'
import wordsSource from './words.wgsl'

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

export interface Flat extends RandomWords {
  count: number
}

/** y [count]: random words as int32. */
export const randomWords: KernelSpec<Flat> = {
  name: 'randomWords',
  bindings: writes('i32', 'y'),
  params: [branchStrides(1), ...scalars('u32', 'count'), ...streamParams],
  variants: [countVariant(wordsSource)],
  flops: ({ count }) => count,
  bytes: ({ count }) => 4 * count,
}

/** y [count]: 1 with the probabilities p [count], else 0; NaN where p is. */
export const bernoulli: KernelSpec<Flat> = {
  name: 'bernoulli',
  bindings: [...reads('f32', 'p'), ...writes('f32', 'y')],
  params: [branchStrides(2), ...scalars('u32', 'count'), ...streamParams],
  variants: [countVariant(bernoulliSource)],
  flops: ({ count }) => count,
  bytes: ({ count }) => 8 * count,
}

/** Rows of weights of classes, from each of which `draws` classes are drawn. */
export interface Multinomial extends RandomWords {
  rows: number
  classes: number
  draws: number
}

/** drawn [rows, draws]: classes drawn with replacement from the running sums [rows, classes] of weights; -1 where their sum is no positive number. */
export const multinomial: KernelSpec<Multinomial> = {
  name: 'multinomial',
  bindings: [...reads('f32', 'sums'), ...writes('i32', 'drawn')],
  params: [branchStrides(2), ...scalars('u32', 'rows', 'classes', 'draws'), ...streamParams],
  variants: [{ name: 'direct', source: multinomialSource, grid: ({ rows, draws }) => grid1d(ceilDiv(rows * draws, 64)) }],
  flops: ({ rows, classes, draws }) => rows * draws * Math.ceil(Math.log2(classes + 1)),
  bytes: ({ rows, classes, draws }) => 4 * rows * (classes + draws),
}

/** drawn [rows, draws]: classes drawn without replacement from weights [rows, classes]; -1 where none is left. `keys` is scratch memory. */
export const multinomialDistinct: KernelSpec<Multinomial> = {
  name: 'multinomialDistinct',
  bindings: [...reads('f32', 'weights'), ...writes('f32', 'keys'), ...writes('i32', 'drawn')],
  params: [branchStrides(3), ...scalars('u32', 'rows', 'classes', 'draws'), ...streamParams],
  variants: [{ name: 'direct', source: distinctSource, grid: ({ rows }) => grid1d(ceilDiv(rows, 8)) }],
  flops: ({ rows, classes, draws }) => rows * classes * (draws + 2),
  bytes: ({ rows, classes, draws }) => 4 * rows * (classes * (2 + draws) + draws),
}
