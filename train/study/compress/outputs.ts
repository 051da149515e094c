import { capture, crossEntropy, noGrad, scope, type Tensor, tensor } from '../../../engine/index.ts'
import type { Mode, ParaFormer } from '../../../model/index.ts'
import type { BatchLoader } from '../../data/loader.ts'
import { inference } from '../../inference.ts'
import { labelTensor } from '../../modelInput.ts'

/** The outputs of all branches for a batch of images, from which every order and every prefix is a sum. */
export interface BatchOutputs {
  /** Pooled outputs of the branches, row-major [m, B, D]. */
  outputs: Float32Array
  /** [B] */
  labels: Int32Array
}

/** Losses and accuracies of the head on r sums of branch outputs, over N images. */
export interface Scores {
  images: number
  /** Mean cross-entropy of each sum. */
  losses: number[]
  /** Share of images that each sum classifies right. */
  accuracies: number[]
  /** For each sum, 1 where it classifies an image right, else 0: r arrays of N. */
  right: Uint8Array[]
  /** For each sum, the largest softmax probability of each image: r arrays of N. */
  confidence: Float32Array[]
}

/**
 * Runs all branches once on every image of a loader; dropout is off.
 * @param onBatch is called after each batch with the images done so far
 */
export async function branchOutputs(
  model: ParaFormer,
  loader: BatchLoader,
  mode: Mode,
  onBatch?: (images: number) => void,
): Promise<BatchOutputs[]> {
  model.eval()
  const pass = { branches: model.config.branches, eachBranch: true }
  const running = inference(model, mode, pass, (images, options) => [noGrad(() => model.outputs(images, options))])
  const batches: BatchOutputs[] = []
  let images = 0
  try {
    loader.seek({ epoch: 0, step: 0 })
    for await (const { images: pixels, labels } of loader) {
      const [outputs] = await running.run(pixels, labels.length)
      batches.push({ outputs: outputs as Float32Array, labels })
      images += labels.length
      onBatch?.(images)
    }
  } finally {
    running.dispose()
  }
  return batches
}

/** Returns the scores of the prefixes 1 to m of the branches in an order. */
export function prefixScores(model: ParaFormer, batches: readonly BatchOutputs[], order: readonly number[]): Promise<Scores> {
  return headScores(model, batches, ({ outputs, labels }) => {
    const rows = rowsOf(outputs, model.config.branches)
    return toDevice(
      model,
      order.map((i) => rows[i]!),
      labels.length,
    ).cumsum(0) // [m, B, D]
  })
}

/** Returns the scores of a sum of branches and each of the candidates. @param chosen the branches of the sum, maybe none */
export function candidateScores(
  model: ParaFormer,
  batches: readonly BatchOutputs[],
  chosen: readonly number[],
  candidates: readonly number[],
): Promise<Scores> {
  return headScores(model, batches, ({ outputs, labels }) => {
    const rows = rowsOf(outputs, model.config.branches)
    const each = toDevice(
      model,
      candidates.map((i) => rows[i]!),
      labels.length,
    ) // [r, B, D]
    if (chosen.length === 0) return each
    const before = toDevice(
      model,
      chosen.map((i) => rows[i]!),
      labels.length,
    )
    return before.sum(0, true).add(each)
  })
}

/** Cuts the outputs of a batch into those of each branch, without copies. */
function rowsOf(outputs: Float32Array, m: number): Float32Array[] {
  const size = outputs.length / m
  return Array.from({ length: m }, (_, i) => outputs.subarray(i * size, (i + 1) * size))
}

/** Copies outputs of branches, [B, D] each, to the device of a model: [r, B, D]. */
function toDevice(model: ParaFormer, rows: readonly Float32Array[], B: number): Tensor {
  const { dim } = model.config
  const all = new Float32Array(rows.length * B * dim)
  for (const [i, row] of rows.entries()) all.set(row, i * row.length)
  return tensor(all, { shape: [rows.length, B, dim], device: model.device })
}

/** Runs the head on sums of every batch. @param sumsOf makes the sums of a batch, [r, B, D] */
async function headScores(
  model: ParaFormer,
  batches: readonly BatchOutputs[],
  sumsOf: (batch: BatchOutputs) => Tensor,
): Promise<Scores> {
  const head = capture((sums: Tensor, labels: Tensor) =>
    noGrad(() => {
      const logits = model.head.forward(sums) // [r, B, classes]
      const [r, B] = logits.shape as [number, number]
      const losses = crossEntropy(logits, labels.reshape([1, B]).broadcastTo([r, B]), { reduction: 'none' })
      return [losses, logits.argmax(2), logits.softmax(2).max(2)]
    }),
  )
  const parts: BatchScores[] = []
  try {
    for (const batch of batches) {
      const reads = scope(() =>
        head(
          noGrad(() => sumsOf(batch)),
          labelTensor(model, batch.labels),
        ).map((t) => t.data()),
      )
      const [losses, predicted, confidence] = await Promise.all(reads)
      parts.push({ losses: losses!, predicted: predicted!, confidence: confidence!, labels: batch.labels })
    }
  } finally {
    head.dispose()
  }
  return gather(parts)
}

/** Scores of one batch, each [r, B]. */
interface BatchScores {
  losses: ArrayLike<number>
  predicted: ArrayLike<number>
  confidence: ArrayLike<number>
  labels: Int32Array
}

function gather(parts: readonly BatchScores[]): Scores {
  const images = parts.reduce((sum, { labels }) => sum + labels.length, 0)
  const r = parts[0]!.losses.length / parts[0]!.labels.length
  const right = Array.from({ length: r }, () => new Uint8Array(images))
  const confidence = Array.from({ length: r }, () => new Float32Array(images))
  const sums = new Float64Array(r)
  let from = 0
  for (const { losses, predicted, confidence: shares, labels } of parts) {
    const B = labels.length
    for (let k = 0; k < r; k++) {
      for (let b = 0; b < B; b++) {
        const at = k * B + b
        sums[k]! += losses[at]!
        // Logits that are not finite have no largest one.
        right[k]![from + b] = Number(Number.isFinite(losses[at]) && predicted[at] === labels[b])
        confidence[k]![from + b] = shares[at]!
      }
    }
    from += B
  }
  return {
    images,
    losses: Array.from(sums, (sum) => sum / images),
    accuracies: right.map((hits) => hits.reduce((sum, hit) => sum + hit, 0) / images),
    right,
    confidence,
  }
}
