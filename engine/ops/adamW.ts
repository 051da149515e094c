import { adamW, gradNorm, gradNormChunk, type StepSetup, stepSetup } from '../../kernels/adamW/index.ts'
import { ARENA_BLOCK } from '../autograd/arena.ts'
import { refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { bindingAlignment, type Dtype } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import type { Changeable } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { zeros } from './create.ts'

/** Numbers that float32 has: the smallest above 0 that no device takes for 0, and one above all. */
const SMALLEST = 2 ** -126
const LARGEST = 2 ** 128

/** Parameters in one allocation: flat float32 tensors of one layout. */
export interface AdamWArena {
  params: Tensor
  grads: Tensor
  /** First and second moment; zeros before the first step. */
  m: Tensor
  v: Tensor
  /** int32, the slot of each block of 64 elements, which is its row in the tables of all arenas. */
  blockSlot: Tensor
  /** Counts the change of those that take part; default that of all. */
  changes?: Changeable
}

/** What a step reads and writes: parameters, and tables of all of them. */
export interface AdamWTensors {
  arenas: readonly AdamWArena[]
  /** float32 [slots, 2]: each slot's weight decay, and whether it takes part (0 or 1). */
  rules: Tensor
  /** float32: what `gradSquares` gives, or other numbers whose sum is the square of the gradient's norm. */
  squares: Tensor
  /** int32 [slots]: steps taken so far; zeros before the first one. */
  steps: Tensor
  /** float32 [2]: what the loss was multiplied by, and the finite steps in a row since that changed. */
  lossScale: Tensor
}

export interface AdamWHyperparameters {
  /** From 0 to 1e32. */
  lr: number
  /** At least 0 and below 1. */
  beta1: number
  beta2: number
  /** Added to the root of the second moment; of 0 that of an element without gradient is still no division by 0. */
  eps: number
  /** The gradient is multiplied by min(1, maxNorm / (norm + 1e-6)); Infinity or 0: no clipping. */
  maxNorm: number
  /** Finite steps in a row that double the loss scale; 0: it is constant. */
  growthInterval: number
}

type Rule = readonly [takes: string, fits: (value: number) => boolean]

const between = (least: number, most: number): Rule => [
  `a number from ${least} to ${most}`,
  (value) => value >= least && value <= most,
]
const MOMENT: Rule = ['a number of at least 0 and below 1', (value) => value >= 0 && value < 1]

const RULES: Readonly<Record<keyof AdamWHyperparameters | 'weightDecay', Rule>> = {
  // Divided by 1 - beta1 it must be a number that float32 has.
  lr: between(0, 1e32),
  beta1: MOMENT,
  beta2: MOMENT,
  eps: between(0, 1e30),
  weightDecay: between(0, 1e6),
  maxNorm: ['a number of at least 0 (0 or Infinity: no clipping)', (value) => value >= 0],
  growthInterval: ['a whole number from 0 to 2^24', (value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 24],
}

/** @throws ArgumentError in one line that says what a hyperparameter may be */
export function checkAdamW(op: string, given: Readonly<Partial<Record<keyof typeof RULES, unknown>>>): void {
  for (const name of Object.keys(given) as (keyof typeof RULES)[]) {
    const [takes, fits] = RULES[name]
    const value = given[name]
    if (typeof value !== 'number' || !fits(value)) throw refusal(op, value, takes, name)
  }
}

type Expected = readonly [t: Tensor, size: number, dtype: Dtype]

/** @throws ShapeError unless all tensors have their size and dtype */
function checkSizes(op: string, tensors: readonly Expected[]): void {
  for (const [t, size, dtype] of tensors) {
    checkTensor(op, t)
    if (t.size !== size || t.dtype !== dtype)
      throw new ShapeError(`${op}: got ${t.dtype} ${format(t.shape)}; takes ${dtype} of ${size} elements there`)
  }
}

/** Elements from which on a binding may start. */
const ALIGNMENT = bindingAlignment('float32')

/** A flat tensor of the layout that `blockSlot` tells. */
function flat(t: Tensor, blockSlot: Tensor): Expected {
  return [t, blockSlot.size * ARENA_BLOCK, 'float32']
}

/** The logarithm of a decay; that of 0 in a number that float32 has, and whose powers are 0 all the same. */
function logarithm(beta: number): number {
  return Math.max(Math.log(beta), -100)
}

/**
 * Sums of squares of the gradients of all slots that take part, float32, off the tape; there is one for each piece of an arena, and
 * zeros. Tables as for `adamWStep`.
 * @throws ShapeError for tensors of different layouts
 */
export function gradSquares(arenas: readonly Pick<AdamWArena, 'grads' | 'blockSlot'>[], rules: Tensor): Tensor {
  const { device } = rules
  let length = 0
  const parts = arenas.map(({ grads, blockSlot }) => {
    checkSizes('gradSquares', [[blockSlot, blockSlot.size, 'int32'], flat(grads, blockSlot)])
    const blocks = blockSlot.size
    const chunk = gradNormChunk(device.capabilities, blocks)
    const offset = ALIGNMENT * Math.ceil(length / ALIGNMENT)
    length = offset + Math.ceil(blocks / chunk)
    return { grads, blockSlot, blocks, chunk, offset }
  })
  // Where there are several, zeros lie between.
  const squares = parts.length > 1 ? zeros([length], { device }) : empty([length], 'float32', device)
  for (const { grads, blockSlot, blocks, chunk, offset } of parts) {
    const pieces = view(squares, [Math.ceil(blocks / chunk)], [1], offset)
    run(gradNorm, { blocks, chunk }, [grads, blockSlot, rules, pieces])
    pieces.dispose()
  }
  return squares
}

/**
 * One AdamW step of all slots that take part, in place and off the tape. Where the norm of the gradient is not finite nothing changes
 * but the loss scale, which halves.
 * @param learningRate asked again before every replay of a capture
 * @returns the Euclidean norm of the gradient before clipping, float32 [1]
 * @throws ShapeError for tensors of different layouts; ArgumentError for hyperparameters that are out of range, the learning rate of a
 *   replay too
 */
export function adamWStep(
  tensors: AdamWTensors,
  { lr, beta1, beta2, eps, maxNorm, growthInterval }: AdamWHyperparameters,
  learningRate: () => number = () => lr,
): Tensor {
  const { arenas, rules, squares, steps, lossScale } = tensors
  const { device } = steps
  checkSizes('adamWStep', [
    ...arenas.flatMap(({ params, grads, m, v, blockSlot }): Expected[] => [
      ...[params, grads, m, v].map((t) => flat(t, blockSlot)),
      [blockSlot, blockSlot.size, 'int32'],
    ]),
    [rules, 2 * steps.size, 'float32'],
    [squares, squares.size, 'float32'],
    [steps, steps.size, 'int32'],
    [lossScale, 2, 'float32'],
  ])
  checkAdamW('adamWStep', { lr, beta1, beta2, eps, maxNorm, growthInterval })
  const setup: StepSetup = {
    pieces: squares.size,
    slots: steps.size,
    lr,
    logBeta1: logarithm(beta1),
    logBeta2: logarithm(beta2),
    maxNorm: maxNorm > 0 && maxNorm < LARGEST ? Math.max(maxNorm, SMALLEST) : 0,
    growthInterval,
  }
  const updateParams = () => {
    const lr = learningRate()
    checkAdamW('adamWStep', { lr })
    return { lr }
  }
  const slots = empty([steps.size, 4], 'float32', device)
  const norm = empty([1], 'float32', device)
  run(stepSetup, setup, [squares, rules, lossScale, steps, slots, norm], { updateParams })
  for (const { params, grads, m, v, blockSlot, changes } of arenas) {
    const problem = {
      blocks: blockSlot.size,
      beta1,
      beta2,
      complement1: 1 - beta1,
      complement2: 1 - beta2,
      eps: Math.max(eps, SMALLEST),
    }
    const { dtype, end, offset, storage, version } = params
    const values = { device, dtype, end, offset, storage, version: changes ?? version }
    run(adamW, problem, [values, grads, m, v, blockSlot, slots])
  }
  slots.dispose()
  return norm
}
