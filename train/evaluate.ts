import { capture, crossEntropy, noGrad, scope, type Tensor, tensor } from '../engine/index.ts'
import { type ForwardOptions, type Mode, type Model, ParaFormer } from '../model/index.ts'
import type { Batch, BatchLoader } from './data/loader.ts'
import type { BranchDevices } from './devices/branchDevices.ts'

/** How every prefix did, prefix 1 first (a ViT has one entry). */
export interface Evaluation {
  images: number
  /** Mean cross-entropy L_k. */
  losses: number[]
  /** Share of images whose loss is finite and whose largest logit is the label's, 0 to 1. */
  accuracies: number[]
}

type ScoreOptions = Pick<ForwardOptions, 'mode' | 'outputs'>

/** Logits of every prefix, [m, B, classes]; a ViT has the one. */
function prefixLogits(model: Model, images: Tensor, options: ScoreOptions): Tensor {
  if (model instanceof ParaFormer) return model.forwardPrefixes(images, options)
  const logits = model.forward(images) // [B, classes]
  return logits.reshape([1, ...logits.shape])
}

/**
 * Losses and accuracies of all prefixes over one epoch of a loader, from one pass over the branches; dropout off.
 * @param onBatch called after each batch with the images done so far; what it throws ends the evaluation
 * @param how the branches run, or on which devices
 */
export async function evaluate(
  model: Model,
  loader: BatchLoader,
  onBatch?: (images: number) => void,
  how: Mode | BranchDevices = 'serial',
): Promise<Evaluation> {
  const training = model.training
  model.eval()
  const { read, dispose } = typeof how === 'string' ? scorer(model, how) : distributedScorer(how)
  const sums: { losses: Float64Array; hits: Float64Array } = { losses: new Float64Array(0), hits: new Float64Array(0) }
  let images = 0
  let pending: Promise<void> = Promise.resolve()
  try {
    loader.seek({ epoch: 0, step: 0 })
    for await (const batch of loader) {
      const reading = read(batch)
      // Where the batch before fails, nobody asks for this one.
      reading.catch(() => {})
      await pending
      pending = reading.then(({ losses, predicted }) => {
        const B = batch.labels.length
        const m = losses.length / B
        if (sums.losses.length === 0) Object.assign(sums, { losses: new Float64Array(m), hits: new Float64Array(m) })
        for (let k = 0; k < m; k++) {
          for (let b = 0; b < B; b++) {
            const loss = losses[k * B + b]!
            sums.losses[k]! += loss
            // Of logits that are not numbers the largest one is none.
            if (Number.isFinite(loss) && predicted[k * B + b] === batch.labels[b]) sums.hits[k]!++
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
    dispose()
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
  options: ScoreOptions = {},
): { losses: Tensor; predicted: Tensor } {
  return noGrad(() => {
    const logits = prefixLogits(model, images, options) // [m, B, classes]
    const [m, B] = logits.shape as [number, number]
    const losses = crossEntropy(logits, labels.reshape([1, B]).broadcastTo([m, B]), { reduction: 'none' })
    return { losses, predicted: logits.argmax(2) }
  })
}

/** Reads the scores of batches, each [m * B]. */
interface Scorer {
  read(batch: Batch): Promise<{ losses: ArrayLike<number>; predicted: ArrayLike<number> }>
  dispose(): void
}

/** On one device. */
function scorer(model: Model, mode: Mode): Scorer {
  const { channels, imageSize } = model.config
  const { device } = model.posEmbedding
  if (mode === 'coalesced') model.colocate()
  const scores = capture((images: Tensor, labels: Tensor) => prefixScores(model, images, labels, { mode }))
  return {
    read({ images, labels }) {
      const shape = [labels.length, channels, imageSize, imageSize]
      return readScores(scope(() => dataOf(scores(tensor(images, { shape, device }), tensor(labels, { device })))))
    },
    dispose: scores.dispose,
  }
}

/** On several. */
function distributedScorer(devices: BranchDevices): Scorer {
  const { model } = devices
  return {
    async read({ images, labels }) {
      const pass = { branches: model.config.branches, eachBranch: true }
      const head = (on: Tensor, outputs: Tensor) =>
        dataOf(prefixScores(model, on, tensor(labels, { device: on.device }), { outputs }))
      return readScores(await devices.infer(images, labels.length, pass, head))
    },
    dispose() {},
  }
}

type Reads = readonly [losses: Promise<ArrayLike<number>>, predicted: Promise<ArrayLike<number>>]

function dataOf({ losses, predicted }: ReturnType<typeof prefixScores>): Reads {
  return [losses.data(), predicted.data()]
}

async function readScores(reads: Reads) {
  const [losses, predicted] = await Promise.all(reads)
  return { losses, predicted }
}

/** The prefixes whose loss is not finite, in words; undefined when all are. */
export function spoiledPrefixes(losses: readonly number[]): string | undefined {
  const spoiled = losses.flatMap((loss, k) => (Number.isFinite(loss) ? [] : [k + 1]))
  return spoiled.length > 0 ? `the loss of prefix ${spoiled.join(', ')} is not finite` : undefined
}

/** Prefixes whose loss is larger than that of the prefix before: progressive approximation says there are none. */
export function violations(losses: readonly number[]): number {
  return losses.filter((loss, k) => k > 0 && !(loss <= losses[k - 1]!)).length
}
