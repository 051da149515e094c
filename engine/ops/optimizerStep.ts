import { gradNorm, gradNormChunk, stepSetup } from '../../kernels/adamW/index.ts'
import { ARENA_BLOCK } from '../autograd/arena.ts'
import { refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { bindingAlignment, type Dtype } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import type { Changeable } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { zeros } from './create.ts'

/** The least normal float32: devices may take smaller numbers for 0. */
export const SMALLEST = 2 ** -126
/** The least power of two above every float32. */
const ABOVE_ALL = 2 ** 128

/** The parameters of one arena: flat float32 tensors of the arena's layout. */
export interface StepArena {
  params: Tensor
  grads: Tensor
  /** int32, one element a block of 64 elements: the block's slot, which is its row in `rules` and its place in `steps`. */
  blockSlot: Tensor
  /** Counts the changes of the parameters that take part; by default of all parameters. */
  changes?: Changeable
}

/** The numbers that decide a step. */
export interface StepTensors {
  /** float32 [slots, 4]: a row of `adamWRule` or `plainRule` for every slot that takes part, and `INACTIVE` for the others. */
  rules: Tensor
  /** float32 [n]: numbers whose sum is the squared norm of the gradient, as `gradSquares` gives them. */
  squares: Tensor
  /** int32 [slots]: by slot the number of steps so far. */
  steps: Tensor
  /** float32 [2]: the factor of the loss, and the number of finite steps in a row since the factor changed. */
  lossScale: Tensor
}

export interface StepLimits {
  /** The gradient is multiplied by min(1, maxNorm / (norm + 1e-6)); 0 and Infinity turn clipping off. */
  maxNorm: number
  /** The number of finite steps in a row that doubles the loss scale; 0 keeps it constant. */
  growthInterval: number
}

/** A row of `rules`. */
export type StepRule = readonly [lr: number, decay: number, number, number]

/** The rule of a slot that takes no part. */
export const INACTIVE: StepRule = [0, -1, 0, 0]

/** The rule of a slot of AdamW. */
export function adamWRule(lr: number, decay: number, [beta1, beta2]: readonly [number, number]): StepRule {
  return [lr, decay, logarithm(beta1), logarithm(beta2)]
}

/**
 * The rule of a slot whose row of the table is lr, `value`, the decay and the factor of the gradient.
 * @param coupled whether the decay is part of the gradient, and `value` counts after the slot's first step, where it is 1
 */
export function plainRule(lr: number, decay: number, value = 1, coupled = false): StepRule {
  return [lr, decay, value, coupled ? 2 : 1]
}

/** A test of a hyperparameter and its description for messages. */
type Rule = readonly [takes: string, fits: (value: number) => boolean]

const between = (least: number, most: number): Rule => [
  `a number from ${least} to ${most}`,
  (value) => value >= least && value <= most,
]
const MOMENT: Rule = ['a number of at least 0 and below 1', (value) => value >= 0 && value < 1]

const RULES = {
  // The learning rate divided by 1 - beta1 must stay finite in float32.
  lr: between(0, 1e32),
  beta1: MOMENT,
  beta2: MOMENT,
  eps: between(0, 1e30),
  weightDecay: between(0, 1e6),
  maxNorm: ['a number of at least 0 (0 or Infinity: no clipping)', (value) => value >= 0],
  growthInterval: ['a whole number from 0 to 2^24', (value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 24],
  lrScale: between(0, 1e6),
  adamLrScale: between(0, 1e6),
  momentum: MOMENT,
  dampening: between(0, 1),
  decay: between(0, 1),
} as const satisfies Readonly<Record<string, Rule>>

/** @throws ArgumentError for the first hyperparameter that is out of its range */
export function checkHyperparameters(op: string, values: Readonly<Partial<Record<keyof typeof RULES, unknown>>>): void {
  for (const name of Object.keys(values) as (keyof typeof RULES)[]) {
    const [takes, fits] = RULES[name]
    const value = values[name]
    if (typeof value !== 'number' || !fits(value)) throw refusal(op, value, takes, name)
  }
}

/** A tensor with the size and the dtype that it must have. */
export type Expected = readonly [t: Tensor, size: number, dtype: Dtype]

/** @throws ShapeError unless every tensor has the expected size and dtype; ArgumentError unless it is a live tensor */
export function checkSizes(op: string, tensors: readonly Expected[]): void {
  for (const [t, size, dtype] of tensors) {
    checkTensor(op, t)
    if (t.size !== size || t.dtype !== dtype)
      throw new ShapeError(`${op}: got ${t.dtype} ${format(t.shape)}; takes ${dtype} of ${size} elements there`)
  }
}

/** The alignment of a float32 binding, in elements. */
const ALIGNMENT = bindingAlignment('float32')

/** Describes what a flat tensor of an arena has to be: float32, with an element for each of the blocks that `blockSlot` lists. */
export function flat(t: Tensor, blockSlot: Tensor): Expected {
  return [t, blockSlot.size * ARENA_BLOCK, 'float32']
}

/** log(beta), at least -100: the logarithm of 0 becomes a finite number whose powers are 0 in float32 all the same. */
function logarithm(beta: number): number {
  return Math.max(Math.log(beta), -100)
}

/**
 * Sums the squares of the gradients of all slots that take part, off the tape.
 * @param rules as for `setUpStep`
 * @returns float32 [n]: a partial sum for each chunk of an arena, and zeros in the gaps between arenas
 * @throws ShapeError for tensors of different layouts
 */
export function gradSquares(arenas: readonly Pick<StepArena, 'grads' | 'blockSlot'>[], rules: Tensor): Tensor {
  const { device } = rules
  let length = 0
  const launches = arenas.map(({ grads, blockSlot }) => {
    checkSizes('gradSquares', [[blockSlot, blockSlot.size, 'int32'], flat(grads, blockSlot)])
    const blocks = blockSlot.size
    const chunk = gradNormChunk(device.capabilities, blocks)
    const offset = ALIGNMENT * Math.ceil(length / ALIGNMENT)
    length = offset + Math.ceil(blocks / chunk)
    return { grads, blockSlot, blocks, chunk, offset }
  })
  // The partial sums of each arena start at an aligned element, so gaps may lie between them.
  const squares = launches.length > 1 ? zeros([length], { device }) : empty([length], 'float32', device)
  for (const { grads, blockSlot, blocks, chunk, offset } of launches) {
    const partials = view(squares, { shape: [Math.ceil(blocks / chunk)], offset })
    run(gradNorm, { blocks, chunk }, [grads, blockSlot, rules, partials])
    partials.dispose()
  }
  return squares
}

/**
 * Decides a step: clipping, the loss scale, the step counts of all slots that take part. If the norm of the gradient is not finite, the
 * step only halves the loss scale.
 * @returns `slots`, float32 [slots, 4], the table that the kernels of optimizers read, and `norm`, float32 [1], the Euclidean norm of the
 *   gradient before clipping
 * @throws ShapeError for tensors of different layouts; ArgumentError for a number out of its range
 */
export function setUpStep(
  { rules, squares, steps, lossScale }: StepTensors,
  { maxNorm, growthInterval }: StepLimits,
): { slots: Tensor; norm: Tensor } {
  checkSizes('setUpStep', [
    [rules, 4 * steps.size, 'float32'],
    [squares, squares.size, 'float32'],
    [steps, steps.size, 'int32'],
    [lossScale, 2, 'float32'],
  ])
  checkHyperparameters('setUpStep', { maxNorm, growthInterval })
  const slots = empty([steps.size, 4], 'float32', steps.device)
  const norm = empty([1], 'float32', steps.device)
  const problem = {
    pieces: squares.size,
    slots: steps.size,
    maxNorm: maxNorm > 0 && maxNorm < ABOVE_ALL ? Math.max(maxNorm, SMALLEST) : 0,
    growthInterval,
  }
  run(stepSetup, problem, [squares, rules, lossScale, steps, slots, norm])
  return { slots, norm }
}

/** Returns the values of an arena as a kernel writes them: a change counts for the parameters that take part. */
export function changing({ params, changes }: StepArena): Bindable {
  const { device, dtype, end, offset, storage, version } = params
  return { device, dtype, end, offset, storage, version: changes ?? version }
}
