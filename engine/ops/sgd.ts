import { sgd } from '../../kernels/sgd/index.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { changing, checkHyperparameters, checkSizes, flat, type StepArena } from './optimizerStep.ts'

/** The parameters of one arena with their momentum, which is zeros before the first step; without momentum it is left out. */
export interface SgdArena extends StepArena {
  momentum?: Tensor | undefined
}

/**
 * Takes one step of SGD in PyTorch's form for all slots of an arena that take part, in place and off the tape.
 * @param slots the table of `setUpStep`, from coupled rules of `plainRule`
 * @throws ShapeError for tensors of different layouts; ArgumentError for a momentum out of its range
 */
export function sgdStep(arena: SgdArena, slots: Tensor, { momentum, nesterov }: { momentum: number; nesterov: boolean }): void {
  const { params, grads, blockSlot } = arena
  const buffer = momentum === 0 ? empty([1], 'float32', params.device) : arena.momentum!
  checkSizes('sgdStep', [
    ...[params, grads].map((t) => flat(t, blockSlot)),
    momentum === 0 ? [buffer, 1, 'float32'] : flat(buffer, blockSlot),
    [blockSlot, blockSlot.size, 'int32'],
    [slots, slots.size, 'float32'],
  ])
  checkHyperparameters('sgdStep', { momentum })
  const problem = { blocks: blockSlot.size, momentum, nesterov: Number(nesterov) }
  run(sgd, problem, [changing(arena), grads, buffer, blockSlot, slots])
}
