import { lion } from '../../kernels/lion/index.ts'
import { run } from '../tensor/run.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { changing, checkHyperparameters, checkSizes, flat, type StepArena } from './optimizerStep.ts'

/** The parameters of one arena with their momentum, which is zeros before the first step. */
export interface LionArena extends StepArena {
  momentum: Tensor
}

/**
 * Takes one step of Lion (Chen et al., arXiv 2302.06675) for all slots of an arena that take part, in place and off the tape.
 * @param slots the table of `setUpStep`, from rules of `plainRule`
 * @throws ShapeError for tensors of different layouts; ArgumentError for a beta out of its range
 */
export function lionStep(arena: LionArena, slots: Tensor, [beta1, beta2]: readonly [number, number]): void {
  const { params, grads, momentum, blockSlot } = arena
  checkSizes('lionStep', [
    ...[params, grads, momentum].map((t) => flat(t, blockSlot)),
    [blockSlot, blockSlot.size, 'int32'],
    [slots, slots.size, 'float32'],
  ])
  checkHyperparameters('lionStep', { beta1, beta2 })
  const problem = { blocks: blockSlot.size, beta1, beta2, complement1: 1 - beta1, complement2: 1 - beta2 }
  run(lion, problem, [changing(arena), grads, momentum, blockSlot, slots])
}
