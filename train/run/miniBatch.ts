import { type Tensor, tensor } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import type { Batch } from '../data/loader.ts'
import { partsOf } from '../data/parts.ts'
import type { StepValues } from '../devices/branchDevices.ts'
import type { MicroBatch, StepResult } from '../schemes.ts'

/** A batch on the device in `parts` parts of about the same size. */
export function microBatches(model: Model, batch: Batch, parts: number): MicroBatch[] {
  const { channels, imageSize } = model.config
  const { device } = model.posEmbedding
  return partsOf(batch, parts).map(({ images, labels, share }) => ({
    images: tensor(images, { shape: [labels.length, channels, imageSize, imageSize], device }),
    labels: tensor(labels, { device }),
    share,
  }))
}

/** Shares of rows of `predicted` [k * B] that equal the labels [B]; NaN where the loss [k] is not finite, since logits are not. */
export function accuracies(predicted: ArrayLike<number>, labels: Int32Array, losses: readonly number[]): number[] {
  const B = labels.length
  return losses.map((loss, k) => {
    if (!Number.isFinite(loss)) return Number.NaN
    return labels.reduce((hits, label, b) => hits + Number(predicted[k * B + b] === label), 0) / B
  })
}

/** Reads what a step left on the device, and frees it; and the loss scale as it is then. */
export async function readStep(result: StepResult, lossScale: Tensor | undefined): Promise<StepValues> {
  const tensors = [result.losses, result.predicted, result.norm]
  const reads = tensors.map((t) => t.data())
  const scale = lossScale?.item()
  for (const t of tensors) t.dispose()
  // All are waited for together: of a device that is lost every one rejects.
  const [scaled, losses, predicted, norms] = await Promise.all([scale, ...reads])
  return { losses: Array.from(losses!), predicted: predicted!, norm: norms![0]!, lossScale: scaled }
}
