import { firstNonFinite, UserError } from '../../engine/index.ts'
import type { Chosen } from '../data/batch.ts'
import type { Objective } from '../schemes/index.ts'
import type { Settings } from '../settings.ts'
import type { ImageSource } from './imageSource.ts'
import { microBatches } from './microBatches.ts'
import type { TrainerParts } from './trainerParts.ts'

/**
 * Runs a failed step again without updating, and checks the result of every op.
 * @param counter the counter of the random state before the step
 * @returns the first op whose result is not finite, if any
 */
export async function findNonFinite(
  { device, model, optimizer }: TrainerParts,
  source: ImageSource,
  batch: Chosen,
  objective: Objective,
  counter: number,
): Promise<string | undefined> {
  const saved = device.random.counter
  device.random.counter = counter
  const [micro] = microBatches(model, source, batch, 1)
  const images = source.images(micro!.images)
  const op = await firstNonFinite(() =>
    objective.loss(model, { ...micro!, images }).objective.backward(optimizer.lossScale.cotangent),
  )
  device.random.counter = saved
  return op
}

/**
 * Makes the error of a step with a loss or gradient that is not finite.
 * @param step number of mini-batches done after the step
 * @param found the first value that is not finite, in words
 */
export function nonFiniteError(
  { lr, precision }: Settings,
  { epoch }: Chosen,
  step: number,
  found: string | undefined,
): UserError {
  const where = found ? `first in ${found}` : 'not again when the step was repeated'
  return new UserError(
    `training stopped: NaN or infinity in mini-batch ${step} of epoch ${epoch + 1}, ${where}; the last checkpoint is intact, ` +
      `use a smaller --lr (it was ${lr}) or --max-norm${precision === 'mixed' ? ', or --precision f32' : ''}`,
  )
}
