// These ops draw from given probabilities, and permutations. None has a gradient.
import * as kernels from '../../kernels/random/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { drawStream, type RandomDraw } from '../autograd/recomputation.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkBoolean, checkNoMore, checkWhole } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { MAX_ELEMENTS } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { scope } from '../tensor/scope.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { stableOrder } from './argsort.ts'
import { cumsum } from './cumsum.ts'

const bernoulliOp = defineOp<[Tensor], { draw: RandomDraw }>({
  name: 'bernoulli',
  forward(_ctx, [p], { draw }) {
    const y = empty(p.shape, 'float32', p.device)
    run(kernels.bernoulli, { count: p.size, ...draw.words }, [p.contiguous(), y], { updateParams: () => draw.next() })
    return y
  },
})

/**
 * Draws 1 with the probability that each element gives, else 0, from the device's random state; NaN gives NaN. It has no gradient.
 * @param p float32, any shape; inside `autocast` float16 too
 * @returns float32 of the shape of p
 * @throws ShapeError for another dtype
 */
export function bernoulli(p: Tensor, ...extra: []): Tensor {
  checkTensor('bernoulli', p)
  checkNoMore('bernoulli', extra)
  const chances = toFloat32(p)
  if (chances.dtype !== 'float32') throw mismatch('bernoulli', [chances], 'float32')
  return noGrad(() => bernoulliOp([chances], { draw: drawStream(p.device.random) }))
}

export interface MultinomialOptions {
  /** Whether a class can be drawn several times; default false. */
  replacement?: boolean
}

const OPTIONS: OptionNames<MultinomialOptions> = { replacement: true }

const multinomialOp = defineOp<[Tensor], { draws: number; replacement: boolean; draw: RandomDraw }>({
  name: 'multinomial',
  forward(_ctx, [weights], { draws, replacement, draw }) {
    const classes = weights.shape.at(-1)!
    const drawn = empty([...weights.shape.slice(0, -1), draws], 'int32', weights.device)
    const problem = { rows: weights.size / classes, classes, draws, ...draw.words }
    const update = { updateParams: () => draw.next() }
    if (replacement) run(kernels.multinomial, problem, [cumsum(weights, -1).contiguous(), drawn], update)
    else {
      const keys = empty(weights.shape, 'float32', weights.device)
      run(kernels.multinomialDistinct, problem, [weights.contiguous(), keys, drawn], update)
    }
    return drawn
  },
})

/**
 * Draws classes with probabilities in proportion to weights, from the device's random state. Where no class can be drawn, because no positive
 * weight is left or the weights of a row are no probabilities (NaN, infinite, their sum 0), the class is -1. Without replacement a thread takes
 * a row and looks at all its classes for every draw (Efraimidis and Spirakis, 2006). It has no gradient.
 * @param weights float32 [..., C], not negative; inside `autocast` float16 too
 * @param draws how many classes to draw from each row; without replacement at most C
 * @returns int32 [..., draws]
 * @throws ShapeError for another dtype, rank 0, or more draws than classes; ArgumentError for an unknown option
 */
export function multinomial(weights: Tensor, draws: number, options: MultinomialOptions = {}, ...extra: []): Tensor {
  checkTensor('multinomial', weights)
  checkWhole('multinomial', draws, 'draws', 1, MAX_ELEMENTS)
  checkOptions('multinomial', options, OPTIONS)
  checkNoMore('multinomial', extra)
  const { replacement = false } = options
  checkBoolean('multinomial', replacement, 'replacement')
  const input = toFloat32(weights)
  const classes = input.shape.at(-1)
  if (input.dtype !== 'float32' || classes === undefined) throw mismatch('multinomial', [input], 'float32 [..., C]')
  if (!replacement && draws > classes)
    throw new ShapeError(`multinomial: got ${draws} draws of ${classes} classes, takes at most as many, or replacement: true`)
  return noGrad(() => multinomialOp([input], { draws, replacement, draw: drawStream(weights.device.random) }))
}

export interface PermutationOptions {
  /** The device that holds the tensor; by default the default device. */
  device?: Device
}

const PERMUTATION: OptionNames<PermutationOptions> = { device: true }

/**
 * Draws a permutation of the whole numbers below n from the device's random state: the stable order of n random words of 32 bits.
 * @param n from 1 on
 * @returns int32 [n]
 * @throws ArgumentError for another n, or an unknown option
 */
export function permutation(n: number, options: PermutationOptions = {}, ...extra: []): Tensor {
  checkWhole('permutation', n, 'n', 1, MAX_ELEMENTS)
  checkOptions('permutation', options, PERMUTATION)
  checkNoMore('permutation', extra)
  const { device = defaultDevice() } = options
  checkDevice('permutation', device)
  const outer = device.op
  device.op = outer || 'permutation'
  try {
    return scope(() => {
      const draw = drawStream(device.random)
      const words = empty([n], 'int32', device)
      run(kernels.randomWords, { count: n, ...draw.words }, [words], { updateParams: () => draw.next() })
      return stableOrder(words)
    })
  } finally {
    device.op = outer
  }
}
