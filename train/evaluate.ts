import { crossEntropy, noGrad, scope, type Tensor, tensor } from '../engine/index.ts'
import { type Model, ParaFormer } from '../model/index.ts'
import type { Batch, BatchLoader } from './data/loader.ts'

/** How every prefix did, prefix 1 first (a ViT has one entry). */
export interface Evaluation {
  images: number
  /** Mean cross-entropy L_k. */
  losses: number[]
  /** Share of images whose largest logit is the label's, 0 to 1. */
  accuracies: number[]
}

/** Logits of every prefix, [m, B, classes]; a ViT has the one. */
export function prefixLogits(model: Model, images: Tensor): Tensor {
  if (model instanceof ParaFormer) return model.forwardPrefixes(images)
  const logits = model.forward(images) // [B, classes]
  return logits.reshape([1, ...logits.shape])
}

/**
 * Losses and accuracies of all prefixes over one epoch of a loader, from one pass over the branches; dropout off.
 * @param onBatch called after each batch with the images done so far; what it throws ends the evaluation
 */
export async function evaluate(model: Model, loader: BatchLoader, onBatch?: (images: number) => void): Promise<Evaluation> {
  const training = model.training
  model.eval()
  const sums: { losses: Float64Array; hits: Float64Array } = { losses: new Float64Array(0), hits: new Float64Array(0) }
  let images = 0
  let pending: Promise<void> = Promise.resolve()
  try {
    loader.seek({ epoch: 0, step: 0 })
    for await (const batch of loader) {
      const reading = score(model, batch)
      await pending
      pending = reading.then(({ losses, predicted }) => {
        const B = batch.labels.length
        const m = losses.length / B
        if (sums.losses.length === 0) Object.assign(sums, { losses: new Float64Array(m), hits: new Float64Array(m) })
        for (let k = 0; k < m; k++) {
          for (let b = 0; b < B; b++) {
            sums.losses[k]! += losses[k * B + b]!
            if (predicted[k * B + b] === batch.labels[b]) sums.hits[k]!++
          }
        }
        images += B
        onBatch?.(images)
      })
      // Awaited with the next batch, or below.
      pending.catch(() => {})
    }
    await pending
  } finally {
    model.train(training)
  }
  return {
    images,
    losses: Array.from(sums.losses, (sum) => sum / images),
    accuracies: Array.from(sums.hits, (hits) => hits / images),
  }
}

/** Loss and predicted class of every image [B, C, H, W] for every prefix, each [m, B], off the tape. */
export function prefixScores(model: Model, images: Tensor, labels: Tensor): { losses: Tensor; predicted: Tensor } {
  return noGrad(() => {
    const logits = prefixLogits(model, images) // [m, B, classes]
    const [m, B] = logits.shape as [number, number]
    const every = labels.reshape([1, B]).broadcastTo([m, B])
    return { losses: crossEntropy(logits, every, { reduction: 'none' }), predicted: logits.argmax(2) }
  })
}

/** The scores of a batch, in the host's hands. */
async function score(model: Model, batch: Batch) {
  const { channels, imageSize } = model.config
  const reads = scope(() => {
    const images = tensor(batch.images, { shape: [batch.labels.length, channels, imageSize, imageSize] })
    const scores = prefixScores(model, images, tensor(batch.labels))
    return [scores.losses.data(), scores.predicted.data()] as const
  })
  const [losses, predicted] = await Promise.all(reads)
  return { losses, predicted }
}

/** Prefixes whose loss is larger than that of the prefix before: progressive approximation says there are none. */
export function violations(losses: readonly number[]): number {
  return losses.filter((loss, k) => k > 0 && !(loss <= losses[k - 1]!)).length
}
