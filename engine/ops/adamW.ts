import { adamW } from '../../kernels/adamW/index.ts'
import { run } from '../tensor/run.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { changing, checkHyperparameters, checkSizes, flat, SMALLEST, type StepArena } from './optimizerStep.ts'

/** The parameters of one arena with the first and second moments, which are zeros before the first step. */
export interface AdamWArena extends StepArena {
  m: Tensor
  v: Tensor
}

export interface AdamWHyperparameters {
  /** Decay rates of the moments, at least 0 and below 1. */
  betas: readonly [number, number]
  /** Added to the root of the second moment, from 0 to 1e30; 0 counts as the least normal float32. */
  eps: number
}

/**
 * Takes one AdamW step (Loshchilov and Hutter, arXiv 1711.05101) for all slots of an arena that take part, in place and off the tape.
 * @param slots the table of `setUpStep`, from rules of `adamWRule`
 * @throws ShapeError for tensors of different layouts; ArgumentError for a hyperparameter out of its range
 */
export function adamWStep(arena: AdamWArena, slots: Tensor, { betas: [beta1, beta2], eps }: AdamWHyperparameters): void {
  const { params, grads, m, v, blockSlot } = arena
  checkSizes('adamWStep', [
    ...[params, grads, m, v].map((t) => flat(t, blockSlot)),
    [blockSlot, blockSlot.size, 'int32'],
    [slots, slots.size, 'float32'],
  ])
  checkHyperparameters('adamWStep', { beta1, beta2, eps })
  const problem = {
    blocks: blockSlot.size,
    beta1,
    beta2,
    complement1: 1 - beta1,
    complement2: 1 - beta2,
    eps: Math.max(eps, SMALLEST),
  }
  run(adamW, problem, [changing(arena), grads, m, v, blockSlot, slots])
}
