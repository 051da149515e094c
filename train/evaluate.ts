import { type Captured, capture, colocate, crossEntropy, noGrad, scope, type Tensor, tensor } from '../engine/index.ts'
import { type Mode, type Model, ParaFormer } from '../model/index.ts'
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
export function prefixLogits(model: Model, images: Tensor, mode: Mode = 'serial'): Tensor {
  if (model instanceof ParaFormer) return model.forwardPrefixes(images, { mode })
  const logits = model.forward(images) // [B, classes]
  return logits.reshape([1, ...logits.shape])
}

/**
 * Losses and accuracies of all prefixes over one epoch of a loader, from one pass over the branches; dropout off.
 * @param onBatch called after each batch with the images done so far; what it throws ends the evaluation
 * @param mode how the branches run
 */
export async function evaluate(
  model: Model,
  loader: BatchLoader,
  onBatch?: (images: number) => void,
  mode: Mode = 'serial',
): Promise<Evaluation> {
  const training = model.training
  model.eval()
  if (mode === 'coalesced') colocate(model.parameters())
  const scores = capture((images: Tensor, labels: Tensor) => prefixScores(model, images, labels, mode))
  const sums: { losses: Float64Array; hits: Float64Array } = { losses: new Float64Array(0), hits: new Float64Array(0) }
  let images = 0
  let pending: Promise<void> = Promise.resolve()
  try {
    loader.seek({ epoch: 0, step: 0 })
    for await (const batch of loader) {
      const reading = read(model, batch, scores)
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
    scores.dispose()
    model.train(training)
  }
  return {
    images,
    losses: Array.from(sums.losses, (sum) => sum / images),
    accuracies: Array.from(sums.hits, (hits) => hits / images),
  }
}

/** Loss of every image for every prefix, and its predicted class, both [m, B]; off the tape. */
export function prefixScores(
  model: Model,
  images: Tensor,
  labels: Tensor,
  mode: Mode = 'serial',
): { losses: Tensor; predicted: Tensor } {
  return noGrad(() => {
    const logits = prefixLogits(model, images, mode) // [m, B, classes]
    const [m, B] = logits.shape as [number, number]
    const losses = crossEntropy(logits, labels.reshape([1, B]).broadcastTo([m, B]), { reduction: 'none' })
    return { losses, predicted: logits.argmax(2) }
  })
}

/** The scores of a batch, each [m * B]. */
async function read(model: Model, batch: Batch, scores: Captured<[Tensor, Tensor], ReturnType<typeof prefixScores>>) {
  const { channels, imageSize } = model.config
  const reads = scope(() => {
    const images = tensor(batch.images, { shape: [batch.labels.length, channels, imageSize, imageSize] })
    const { losses, predicted } = scores(images, tensor(batch.labels))
    return [losses.data(), predicted.data()] as const
  })
  const [losses, predicted] = await Promise.all(reads)
  return { losses, predicted }
}

/** Prefixes whose loss is larger than that of the prefix before: progressive approximation says there are none. */
export function violations(losses: readonly number[]): number {
  return losses.filter((loss, k) => k > 0 && !(loss <= losses[k - 1]!)).length
}
