import type { Tensor } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import type { Chosen } from '../data/batch.ts'
import { partsOf } from '../data/microBatch.ts'
import type { StepValues } from '../devices/stepValues.ts'
import { labelTensor } from '../modelInput.ts'
import type { MicroBatch, StepResult } from '../schemes/index.ts'
import type { ImageSource } from './imageSource.ts'

/**
 * Copies a mini-batch to the device in at most `count` micro-batches of about the same size.
 * @returns micro-batches whose images are inputs of the source
 */
export function microBatches(model: Model, source: ImageSource, batch: Chosen, count: number): MicroBatch[] {
  return partsOf(batch.labels.length, count).map(({ from, to, share }) => ({
    images: source.input(batch, from, to),
    labels: labelTensor(model, batch.labels.subarray(from, to)),
    share,
  }))
}

/**
 * Returns the share of images that each prefix predicts right; NaN where its loss is not finite, since its logits are not either.
 * @param predicted classes [k, B]
 * @param labels [B]
 * @param losses [k]
 */
export function accuracies(predicted: ArrayLike<number>, labels: Int32Array, losses: readonly number[]): number[] {
  const B = labels.length
  return losses.map((loss, k) => {
    if (!Number.isFinite(loss)) return Number.NaN
    return labels.reduce((hits, label, b) => hits + Number(predicted[k * B + b] === label), 0) / B
  })
}

/** Reads and frees the result of a step, and reads the loss scale after it. */
export async function readStep(result: StepResult, lossScale: Tensor | undefined): Promise<StepValues> {
  const tensors = [result.losses, result.predicted, result.norm]
  const reads = tensors.map((t) => t.data())
  const scale = lossScale?.item()
  for (const t of tensors) t.dispose()
  // All are awaited together, because on a lost device all of them reject.
  const [scaled, losses, predicted, norms] = await Promise.all([scale, ...reads])
  return { losses: Array.from(losses!), predicted: predicted!, norm: norms![0]!, lossScale: scaled }
}
