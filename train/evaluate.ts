import { checkFunction, refusal } from '../engine/base/checks.ts'
import { crossEntropy, noGrad, type Tensor, zeros } from '../engine/index.ts'
import { branchShape, type Mode, type Model, ViT } from '../model/index.ts'
import type { Batch, Chosen } from './data/batch.ts'
import type { BatchLoader } from './data/loader.ts'
import type { BranchDevices } from './devices/branchDevices.ts'
import { checkInference, type InferenceOptions, inference } from './inference.ts'
import { inputShape } from './modelInput.ts'
import type { ImageSource } from './run/imageSource.ts'

/** Results of every prefix, prefix 1 first (a ViT has one entry). */
export interface Evaluation {
  images: number
  /** Mean cross-entropy L_k. */
  losses: number[]
  /** Share of images whose loss is finite and whose largest logit is the label's, 0 to 1. */
  accuracies: number[]
}

/**
 * Evaluates all prefixes over one epoch of a loader, from one pass over the branches; dropout is off.
 * @param onBatch is called after each batch with the images done so far; an error that it throws ends the evaluation
 * @param how the mode in which the branches run, or the devices on which they live
 * @param source makes the images of the loader's batches; default the host
 * @throws ArgumentError for arguments of a wrong kind
 */
export async function evaluate(
  model: Model,
  loader: BatchLoader,
  onBatch?: (images: number) => void,
  how: Mode | BranchDevices = 'serial',
  source?: ImageSource,
): Promise<Evaluation> {
  checkInference('evaluate', model, how)
  if (typeof loader?.seek !== 'function') throw refusal('evaluate', loader, 'a loader of batches', 'loader')
  if (onBatch !== undefined) checkFunction('evaluate', onBatch, 'onBatch')
  if (source !== undefined && typeof source?.next !== 'function')
    throw refusal('evaluate', source, 'an ImageSource', 'the source of images')
  const training = model.training
  model.eval()
  const m = branchShape(model.config).branches
  const scores = inference(
    model,
    how,
    { branches: m, eachBranch: true },
    (on, options, labels) => prefixScores(model, on, labels!, options),
    source && ((input) => source.images(input)),
  )
  const sums = { losses: new Float64Array(m), hits: new Float64Array(m) }
  let images = 0
  let pending: Promise<void> = Promise.resolve()
  try {
    loader.seek({ epoch: 0, step: 0 })
    for await (const batch of batchesOf(loader, source)) {
      const B = batch.labels.length
      const input = source ? () => source.input(batch, 0, B) : (batch as Batch).images
      const reading = scores.run(input, B, batch.labels)
      // When the batch before fails, nothing awaits this one.
      reading.catch(() => {})
      await pending
      pending = reading.then(([losses, predicted]) => {
        for (let k = 0; k < m; k++) {
          for (let b = 0; b < B; b++) {
            const loss = losses![k * B + b]!
            sums.losses[k]! += loss
            // Logits that are not finite have no largest one.
            if (Number.isFinite(loss) && predicted![k * B + b] === batch.labels[b]) sums.hits[k]!++
          }
        }
        images += B
        onBatch?.(images)
      })
      // The promise is awaited with the next batch, or after the loop.
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

/** Gives the batches of the first epoch of a loader, without images where a source makes these. */
async function* batchesOf(loader: BatchLoader, source: ImageSource | undefined): AsyncGenerator<Chosen, void> {
  if (!source) yield* loader
  else while (loader.state.epoch === 0) yield await source.next()
}

/** Returns the loss of every image for every prefix, and its predicted class, both [m, B]; off the tape. */
function prefixScores(
  model: Model,
  images: Tensor,
  labels: Tensor,
  options: InferenceOptions = {},
): [losses: Tensor, predicted: Tensor] {
  return noGrad(() => {
    const logits = prefixLogits(model, images, options) // [m, B, classes]
    const [m, B] = logits.shape as [number, number]
    const losses = crossEntropy(logits, labels.reshape([1, B]).broadcastTo([m, B]), { reduction: 'none' })
    return [losses, logits.argmax(2)]
  })
}

/** Returns the logits of every prefix, [m, B, classes], where m is 1 for a ViT. */
function prefixLogits(model: Model, images: Tensor, options: InferenceOptions): Tensor {
  if (!(model instanceof ViT)) return model.forwardPrefixes(images, options)
  const logits = model.forward(images) // [B, classes]
  return logits.reshape([1, ...logits.shape])
}

/** Evaluates B images of zeros, so that `tuneDevice()` sees the dispatches of `evaluate`. */
export function dryRunEvaluation(model: Model, B: number): void {
  model.eval()
  prefixScores(model, zeros(inputShape(model.config, B)), zeros([B], { dtype: 'int32' }))
}

/** Says which prefixes have a loss that is not finite; undefined when all losses are finite. */
export function spoiledPrefixes(losses: readonly number[]): string | undefined {
  const spoiled = losses.flatMap((loss, k) => (Number.isFinite(loss) ? [] : [k + 1]))
  return spoiled.length > 0 ? `the loss of prefix ${spoiled.join(', ')} is not finite` : undefined
}

/** Counts the prefixes whose loss is larger than that of the prefix before; progressive approximation predicts none. */
export function violations(losses: readonly number[]): number {
  return losses.filter((loss, k) => k > 0 && !(loss <= losses[k - 1]!)).length
}
