import { adamW, gradNorm, gradNormChunk, type StepSetup, stepSetup } from '../../kernels/adamW/index.ts'
import { ARENA_BLOCK } from '../arena.ts'
import { checkTensor } from '../arguments.ts'
import type { Dtype } from '../dtype.ts'
import { ShapeError } from '../errors.ts'
import { run } from '../run.ts'
import { format } from '../shape.ts'
import { empty, type Tensor } from '../tensor.ts'

/** What a step reads and writes: flat float32 tensors of one arena's layout, and tables. */
export interface AdamWTensors {
  params: Tensor
  grads: Tensor
  /** First and second moment; zeros before the first step. */
  m: Tensor
  v: Tensor
  /** int32, the slot of each block of 64 elements. */
  blockSlot: Tensor
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
  lr: number
  beta1: number
  beta2: number
  eps: number
  /** The gradient is multiplied by min(1, maxNorm / (norm + 1e-6)); Infinity, or 0 and less: no clipping. */
  maxNorm: number
  /** Finite steps in a row that double the loss scale; 0: it is constant. */
  growthInterval: number
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

/** A flat tensor of the layout that `blockSlot` tells. */
function flat(t: Tensor, blockSlot: Tensor): Expected {
  return [t, blockSlot.size * ARENA_BLOCK, 'float32']
}

/** The logarithm of a decay; that of 0 in a number that float32 has, and whose powers are 0 all the same. */
function logarithm(beta: number): number {
  return Math.max(Math.log(beta), -100)
}

/**
 * Sums of squares of the gradients of all slots that take part, float32, off the tape; there is one for each piece of the arena.
 * Tables as for `adamWStep`.
 * @throws ShapeError for tensors of different layouts
 */
export function gradSquares(grads: Tensor, blockSlot: Tensor, rules: Tensor): Tensor {
  checkSizes('gradSquares', [[blockSlot, blockSlot.size, 'int32'], flat(grads, blockSlot)])
  const { device } = grads
  const blocks = blockSlot.size
  const chunk = gradNormChunk(device.capabilities, blocks)
  const squares = empty([Math.ceil(blocks / chunk)], 'float32', device)
  run(gradNorm, { blocks, chunk }, [grads, blockSlot, rules, squares])
  return squares
}

/**
 * One AdamW step of all slots that take part, in place and off the tape. Where the norm of the gradient is not finite nothing changes
 * but the loss scale, which halves.
 * @param learningRate asked again before every replay of a capture
 * @returns the Euclidean norm of the gradient before clipping, float32 [1]
 * @throws ShapeError for tensors of different layouts
 */
export function adamWStep(
  tensors: AdamWTensors,
  { lr, beta1, beta2, eps, maxNorm, growthInterval }: AdamWHyperparameters,
  learningRate: () => number = () => lr,
): Tensor {
  const { params, grads, m, v, blockSlot, rules, squares, steps, lossScale } = tensors
  const { device } = params
  checkSizes('adamWStep', [
    ...[params, grads, m, v].map((t) => flat(t, blockSlot)),
    [blockSlot, blockSlot.size, 'int32'],
    [rules, 2 * steps.size, 'float32'],
    [squares, squares.size, 'float32'],
    [steps, steps.size, 'int32'],
    [lossScale, 2, 'float32'],
  ])
  const setup: StepSetup = {
    pieces: squares.size,
    slots: steps.size,
    lr,
    logBeta1: logarithm(beta1),
    logBeta2: logarithm(beta2),
    maxNorm: Number.isFinite(maxNorm) ? maxNorm : 0,
    growthInterval,
  }
  const slots = empty([steps.size, 4], 'float32', device)
  const norm = empty([1], 'float32', device)
  run(stepSetup, setup, [squares, rules, lossScale, steps, slots, norm], { refresh: () => ({ lr: learningRate() }) })
  const problem = { blocks: blockSlot.size, beta1, beta2, complement1: 1 - beta1, complement2: 1 - beta2, eps }
  run(adamW, problem, [params, grads, m, v, blockSlot, slots])
  slots.dispose()
  return norm
}
