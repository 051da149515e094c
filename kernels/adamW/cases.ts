import type { Fill, KernelCase } from '../spec.ts'
import type { AdamW, GradNorm, StepSetup } from './adamW.ts'

const SLOTS = 5
/** Assigns blocks to slots in order, several blocks to each slot. */
const blockSlot =
  (blocks: number): Fill =>
  (block) =>
    Math.floor((block * SLOTS) / blocks)
/**
 * Rows of `slots`: stepSize, invSqrtBc2, decay and the factor of the gradient, which is negative for slot 2 and so leaves that as it is.
 */
const slotsWith =
  (factor: number): Fill =>
  (index, random) =>
    [1e-3 * (1 + random()), 1 + 30 * random(), 5e-5, index >> 2 === 2 ? -1 : factor][index & 3]!
/** Rows of `rules`, of which `gradNorm` reads the second number: slot 2 takes no part. */
const rules: Fill = (index) => [1e-3, index >> 2 === 2 ? -1 : 0.05, 0, 1][index & 3]!

interface Options {
  factor?: number
  fills?: Record<string, Fill>
  bench?: boolean
}

function adamWCase(name: string, blocks: number, { factor = 0.3, fills = {}, bench = false }: Options = {}): KernelCase<AdamW> {
  const size = blocks * 64
  return {
    name,
    problem: { blocks, beta1: 0.9, beta2: 0.999, complement1: 1 - 0.9, complement2: 1 - 0.999, eps: 1e-8 },
    sizes: {
      values: size,
      gradients: size,
      firstMoments: size,
      secondMoments: size,
      blockSlot: blocks,
      slots: SLOTS * 4,
    },
    fills: {
      values: 'normal',
      firstMoments: 'normal',
      secondMoments: 'uniform',
      blockSlot: blockSlot(blocks),
      slots: slotsWith(factor),
      ...fills,
    },
    bench,
  }
}

export const adamWCases: KernelCase<AdamW>[] = [
  ...[1, 7, 31, 33, 129, 257, 1025].map((blocks) => adamWCase(`${blocks} blocks`, blocks)),
  adamWCase('all of the gradient', 7, { factor: 1 }),
  adamWCase('gradients of a scaled loss', 7, { factor: 2 ** -16, fills: { gradients: (_, random) => 65536 * random() } }),
  adamWCase('NaN gradients that are left alone', 7, { factor: -1, fills: { gradients: () => Number.NaN } }),
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
    sizes: { gradients: blocks * 64, blockSlot: blocks, rules: SLOTS * 4, partials: Math.ceil(blocks / chunk) },
    fills: { gradients: fill, blockSlot: blockSlot(blocks), rules },
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

interface SetupOptions {
  slots?: number
  maxNorm?: number
  growthInterval?: number
  scale?: number
  /** Finite steps since the scale changed. */
  steady?: number
  /** Gives the step count of a slot. */
  t?: (slot: number) => number
  partials?: Fill
  /** The two numbers at the end of every row; default the logarithms of betas. */
  ends?: [number, number]
}

function setupCase(name: string, pieces: number, options: SetupOptions = {}): KernelCase<StepSetup> {
  const { slots = 7, maxNorm = 1, growthInterval = 2000, scale = 65536, steady = 3, t = (slot) => 3 * slot } = options
  const ends = options.ends ?? [Math.log(0.9), Math.log(0.999)]
  return {
    name,
    problem: {
      pieces,
      slots,
      maxNorm,
      growthInterval,
    },
    sizes: { partials: pieces, rules: 4 * slots, lossScale: 2, steps: slots, slots: 4 * slots, norm: 1 },
    fills: {
      partials: options.partials ?? ((_, random) => scale * scale * random()),
      // Slot 2 takes no part.
      rules: (index) => [1e-3, index >> 2 === 2 ? -1 : 0.05 * ((index >> 2) % 2), ...ends][index & 3]!,
      lossScale: (index) => [scale, steady][index]!,
      steps: t,
    },
    tolerance: 2e-6,
  }
}

export const setupCases: KernelCase<StepSetup>[] = [
  ...[1, 7, 31, 33, 129, 257, 1025].map((pieces) => setupCase(`${pieces} pieces`, pieces)),
  ...[1, 3, 255, 256, 257, 600].map((slots) => setupCase(`${slots} slots`, 33, { slots })),
  setupCase('first steps', 9, { t: () => 0 }),
  setupCase('every step to 300', 9, { slots: 300, t: (slot) => slot }),
  setupCase('late steps', 9, { t: (slot) => 10 ** slot }),
  setupCase('betas of 0', 9, { ends: [-100, -100] }),
  setupCase('a number for the table', 9, { ends: [0.7, 1] }),
  setupCase('coupled decay, and a number after the first step', 9, { ends: [0.7, 2] }),
  setupCase('a norm below the limit', 9, { partials: () => 1 }),
  setupCase('no clipping', 9, { maxNorm: 0 }),
  setupCase('a constant scale', 9, { growthInterval: 0, scale: 1, steady: 0 }),
  setupCase('a constant scale, not finite', 9, { growthInterval: 0, scale: 1, steady: 0, partials: () => Number.NaN }),
  setupCase('the scale doubles', 9, { steady: 1999 }),
  setupCase('the scale doubles at every step', 9, { growthInterval: 1, steady: 0 }),
  setupCase('the scale doubles to the largest', 9, { scale: 2 ** 125, steady: 1999, partials: () => 0 }),
  setupCase('the largest scale stays', 9, { scale: 2 ** 126, steady: 1999, partials: () => 0 }),
  setupCase('a scale of 1 halves once', 9, { scale: 1, partials: () => Number.NaN }),
  setupCase('a scale below 1 is not halved', 9, { scale: 0.5, partials: () => Number.POSITIVE_INFINITY }),
  setupCase('a scale below 1 doubles', 9, { scale: 0.5, steady: 1999 }),
  setupCase('the scale halves for an infinite norm', 9, { partials: (i) => (i === 4 ? Number.POSITIVE_INFINITY : 1) }),
  setupCase('the scale halves for a NaN norm', 9, { steady: 1999, partials: (i) => (i === 8 ? Number.NaN : 1) }),
  setupCase('the scale halves where squares overflow', 257, { partials: () => 3e38 }),
]
