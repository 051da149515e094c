import type { ParaFormerConfig } from '../../model/index.ts'
import type { Workload } from '../workloads.ts'
import { NotOffered } from './peer.ts'

/** The ops of the workloads' models, written with a peer's functions. No op consumes its operands. */
export interface Ops<T> {
  /** x W^T + b, with x [..., in], W [out, in], b [out]. */
  linear(x: T, weight: T, bias?: T): T
  /** Normalises the last dim, with eps 1e-5. */
  layerNorm(x: T, weight: T, bias: T): T
  /** The exact GELU, with erf. */
  gelu(x: T): T
  /** A 3 x 3 convolution, padded by 1, of images as the library has them, with weight [O, C, 3, 3] and bias [O]. */
  conv2d(x: T, weight: T, bias: T): T
  relu(x: T): T
  /** The sum, with broadcasting. */
  add(a: T, b: T): T
  /** Attention of q [B, H, Tq, Dh] over k and v [B, H, Tk, Dh]; with `causal` a token sees itself and those before it. */
  attention(q: T, k: T, v: T, causal?: boolean): T
  reshape(x: T, shape: readonly number[]): T
  permute(x: T, order: readonly number[]): T
  /** The part of a dim from index `from` up to the exclusive `to`. */
  slice(x: T, dim: number, from: number, to: number): T
  concat(parts: readonly T[], dim: number): T
  /** Repeats the leading dim, whose size is 1. */
  repeat(x: T, times: number): T
  /** The mean of the squares of all elements, a scalar. */
  meanSquare(x: T): T
  /** The sum of the squares of all elements, a scalar. */
  sumSquare(x: T): T
  /** The mean cross-entropy over the batch; labels are one-hot rows. */
  crossEntropy(logits: T, oneHot: T): T
}

/** Parameters by checkpoint name. */
export type Named<T> = Record<string, T>

/**
 * Computes the loss of a step.
 * @param p the parameters
 * @param input the input, where the step has one
 * @param oneHot the labels, where the step has some
 * @throws NotOffered for a workload that is no step
 */
export function stepLoss<T>(ops: Ops<T>, w: Workload, p: Named<T>, input: T | undefined, oneHot: T | undefined): T {
  if (w.kind === 'attentionStep') return ops.sumSquare(ops.attention(p.q!, p.k!, p.v!, true))
  const x = input!
  switch (w.kind) {
    case 'mlpStep': {
      const hidden = ops.gelu(ops.linear(x, p['fc1.weight']!, p['fc1.bias']!))
      return ops.crossEntropy(ops.linear(hidden, p['fc2.weight']!, p['fc2.bias']!), oneHot!)
    }
    case 'convStep': {
      const hidden = ops.relu(ops.conv2d(x, p['conv1.weight']!, p['conv1.bias']!))
      return ops.meanSquare(ops.conv2d(hidden, p['conv2.weight']!, p['conv2.bias']!))
    }
    case 'blockStep': {
      const { batch, tokens, dim, heads } = w
      const sizes = { batch, tokens, heads, width: dim / heads, residual: 'preNorm' as const }
      return ops.meanSquare(layer(ops, sizes, p, '', x, false))
    }
    case 'modelStep':
      return ops.crossEntropy(paraformer(ops, w.config, w.batch, p, x), oneHot!)
    default:
      throw new NotOffered(`${w.kind} is no training step`)
  }
}

interface LayerSizes {
  batch: number
  tokens: number
  heads: number
  width: number
  residual: 'paper' | 'preNorm'
}

/**
 * Computes one encoder layer, [B, N, D] -> [B, N, D]; with `clsOnly` -> [B, 1, D], since ours computes only the CLS row of a
 * last layer.
 */
function layer<T>(ops: Ops<T>, sizes: LayerSizes, p: Named<T>, prefix: string, x: T, clsOnly: boolean): T {
  const { batch, tokens, heads, width, residual } = sizes
  const get = (name: string) => p[prefix + name]!
  const inner = heads * width
  const split = (t: T, count: number) => ops.permute(ops.reshape(t, [batch, count, heads, width]), [0, 2, 1, 3])
  const cls = (t: T) => ops.slice(t, 1, 0, 1)
  const u = ops.layerNorm(x, get('norm1.weight'), get('norm1.bias')) // [B, N, D]
  const rows = clsOnly ? 1 : tokens
  const qkv = get('attention.qkv.weight') // [3 * inner, D]
  let q: T
  let k: T
  let v: T
  if (clsOnly) {
    const kv = ops.linear(u, ops.slice(qkv, 0, inner, 3 * inner)) // [B, N, 2 * inner]
    q = split(ops.linear(cls(u), ops.slice(qkv, 0, 0, inner)), 1)
    k = split(ops.slice(kv, 2, 0, inner), tokens)
    v = split(ops.slice(kv, 2, inner, 2 * inner), tokens)
  } else {
    const all = ops.linear(u, qkv) // [B, N, 3 * inner]
    q = split(ops.slice(all, 2, 0, inner), tokens)
    k = split(ops.slice(all, 2, inner, 2 * inner), tokens)
    v = split(ops.slice(all, 2, 2 * inner, 3 * inner), tokens)
  }
  const context = ops.reshape(ops.permute(ops.attention(q, k, v), [0, 2, 1, 3]), [batch, rows, inner])
  const projected = ops.linear(context, get('attention.out.weight'), get('attention.out.bias'))
  const skip = residual === 'paper' ? u : x
  const y = ops.add(projected, clsOnly ? cls(skip) : skip) // [B, rows, D]
  const n = ops.layerNorm(y, get('norm2.weight'), get('norm2.bias'))
  const hidden = ops.gelu(ops.linear(n, get('mlp.fc1.weight'), get('mlp.fc1.bias')))
  return ops.add(ops.linear(hidden, get('mlp.fc2.weight'), get('mlp.fc2.bias')), residual === 'paper' ? n : y)
}

/** Computes the logits of ParaFormer, [B, classes], from images [B, C, H, W]. */
function paraformer<T>(ops: Ops<T>, config: ParaFormerConfig, batch: number, p: Named<T>, images: T): T {
  const { channels, imageSize, patchSize, dim, heads, dimHead, branches, branchDepth, residual } = config
  const side = imageSize / patchSize
  const tokens = side ** 2 + 1
  const cut = ops.reshape(images, [batch, channels, side, patchSize, side, patchSize])
  const patches = ops.reshape(ops.permute(cut, [0, 2, 4, 3, 5, 1]), [batch, side ** 2, patchSize ** 2 * channels])
  const embedded = ops.linear(patches, p['embed.weight']!, p['embed.bias']!) // [B, T, D]
  const x = ops.add(ops.concat([ops.repeat(p.clsToken!, batch), embedded], 1), p.posEmbedding!) // [B, T + 1, D]
  const sizes = { batch, tokens, heads, width: dimHead, residual }
  const outputs = Array.from({ length: branches }, (_, i) => {
    let z = x
    for (let l = 0; l < branchDepth; l++) {
      z = layer(ops, sizes, p, `branches.${i}.layers.${l}.`, z, l === branchDepth - 1)
    }
    return ops.reshape(z, [batch, dim])
  })
  const sum = outputs.reduce((total, output) => ops.add(total, output))
  const normed = ops.layerNorm(sum, p['head.norm.weight']!, p['head.norm.bias']!)
  return ops.linear(normed, p['head.linear.weight']!, p['head.linear.bias']!)
}

/** Returns class labels as one-hot rows. */
export function oneHot(labels: ArrayLike<number>, classes: number): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(labels.length * classes)
  for (let i = 0; i < labels.length; i++) rows[i * classes + labels[i]!] = 1
  return rows
}

/** Returns the number of classes of a workload; 0 where it has no labels. */
export function classesOf(w: Workload): number {
  return w.kind === 'mlpStep' ? w.classes : w.kind === 'modelStep' ? w.config.classes : 0
}
