import type { Operand } from './operands.ts'
import type { Workload, WorkloadOf } from './workloads.ts'

/** Rows at either end of a product or of attention that are computed in float64. */
const SAMPLED = 4

/**
 * Returns the output of a workload, computed in float64 by plain loops. Of products and attention only the first and the last
 * rows are computed, and the rest is NaN. Training steps have no expected output, since their gradients are checked otherwise.
 */
export function expectedOutput(w: Workload, operands: Record<string, Operand>): Float64Array | undefined {
  switch (w.kind) {
    case 'matmul':
      return product(w, operands.a!.data, operands.b!.data)
    case 'softmax':
      return softmax(w, operands.x!.data)
    case 'layerNorm':
      return layerNorm(w, operands.x!.data, operands['norm.weight']!.data, operands['norm.bias']!.data)
    case 'attention':
      return attention(w, operands.q!.data, operands.k!.data, operands.v!.data)
    case 'maskedSoftmax': {
      const mask = operands.mask!.data
      const scores = Float64Array.from(operands.x!.data, (score, i) => score + mask[i % mask.length]!)
      return softmax({ kind: 'softmax', rows: w.batch * w.heads * w.tokens, n: w.tokens }, scores)
    }
    case 'einsum': {
      const { batch, heads, tokens, width } = w
      const products = { form: 'NT', batch: batch * heads, m: tokens, k: width, n: tokens } as const
      return product({ kind: 'matmul', ...products }, operands.q!.data, operands.k!.data)
    }
    case 'topk':
      return ordered(w, operands.x!.data, (row) => row.reverse().slice(0, w.k))
    case 'sort':
      return ordered(w, operands.x!.data, (row) => row)
    case 'scatterAdd':
      return scatterAdd(w, operands.x!.data, operands.index!.data, operands.src!.data)
    case 'conv2d':
      return convolution(w, operands.x!.data, operands['conv.weight']!.data, operands['conv.bias']!.data)
    case 'add': {
      const [a, b] = [operands.a!.data, operands.b!.data]
      return Float64Array.from(a, (value, i) => value + b[i]!)
    }
    case 'addChain': {
      const [x, y] = [operands.x!.data, operands.y!.data]
      return Float64Array.from(x, (value, i) => value + w.ops * y[i]!)
    }
    case 'mulChain': {
      const [x, y] = [operands.x!.data, operands.y!.data]
      return Float64Array.from(x, (value, i) => (value + 1) * y[i]! ** w.ops)
    }
    default:
      return undefined
  }
}

/** Returns the indices of the rows to compute: a few from either end. */
function sample(count: number): number[] {
  return Array.from({ length: count }, (_, row) => row).filter((row) => row < SAMPLED || row >= count - SAMPLED)
}

function product({ form, batch, m, k, n }: WorkloadOf<'matmul'>, a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const out = new Float64Array(batch * m * n).fill(Number.NaN)
  for (const row of sample(batch * m)) {
    const matrix = Math.floor(row / m)
    const i = row % m
    for (let j = 0; j < n; j++) {
      let sum = 0
      for (let l = 0; l < k; l++) {
        const left = a[matrix * m * k + (form === 'TN' ? l * m + i : i * k + l)]!
        sum += left * b[matrix * k * n + (form === 'NT' ? j * k + l : l * n + j)]!
      }
      out[row * n + j] = sum
    }
  }
  return out
}

/** Only the first and the last images are computed. */
function convolution(
  { batch, channels, size }: WorkloadOf<'conv2d'>,
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
): Float64Array {
  const plane = size * size
  const out = new Float64Array(batch * channels * plane).fill(Number.NaN)
  for (const image of new Set([0, batch - 1])) {
    for (let at = 0; at < channels * plane; at++) {
      const [o, i, j] = [Math.floor(at / plane), Math.floor(at / size) % size, at % size]
      let sum = bias[o]!
      for (let k = 0; k < 9 * channels; k++) {
        const [y, z] = [i - 1 + (Math.floor(k / 3) % 3), j - 1 + (k % 3)]
        if (y < 0 || y >= size || z < 0 || z >= size) continue
        sum += weight[o * 9 * channels + k]! * x[(image * channels + Math.floor(k / 9)) * plane + y * size + z]!
      }
      out[image * channels * plane + at] = sum
    }
  }
  return out
}

/** Sorts each row, and joins what `take` takes of them. */
function ordered(
  { rows, n }: WorkloadOf<'topk' | 'sort'>,
  x: ArrayLike<number>,
  take: (sorted: Float64Array) => Float64Array,
): Float64Array {
  const sorted = Array.from({ length: rows }, (_, row) => Float64Array.from({ length: n }, (_, i) => x[row * n + i]!).sort())
  return Float64Array.from(sorted.flatMap((row) => [...take(row)]))
}

function scatterAdd(
  { width }: WorkloadOf<'scatterAdd'>,
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  src: ArrayLike<number>,
): Float64Array {
  const out = Float64Array.from(x)
  for (let i = 0; i < src.length; i++) out[index[Math.floor(i / width)]! * width + (i % width)]! += src[i]!
  return out
}

function softmax({ rows, n }: WorkloadOf<'softmax'>, x: ArrayLike<number>): Float64Array {
  const out = new Float64Array(rows * n)
  for (let row = 0; row < rows; row++) {
    let sum = 0
    // Scores are small enough here that nothing overflows.
    for (let i = row * n; i < (row + 1) * n; i++) sum += out[i] = Math.exp(x[i]!)
    for (let i = row * n; i < (row + 1) * n; i++) out[i]! /= sum
  }
  return out
}

function layerNorm(
  { rows, n }: WorkloadOf<'layerNorm'>,
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
): Float64Array {
  const out = new Float64Array(rows * n)
  for (let row = 0; row < rows; row++) {
    let mean = 0
    for (let i = 0; i < n; i++) mean += x[row * n + i]! / n
    let variance = 0
    for (let i = 0; i < n; i++) variance += (x[row * n + i]! - mean) ** 2 / n
    const scale = 1 / Math.sqrt(variance + 1e-5)
    for (let i = 0; i < n; i++) out[row * n + i] = (x[row * n + i]! - mean) * scale * weight[i]! + bias[i]!
  }
  return out
}

function attention(
  { batch, heads, tokens, width, causal }: WorkloadOf<'attention'>,
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
): Float64Array {
  const out = new Float64Array(batch * heads * tokens * width).fill(Number.NaN)
  for (const row of sample(batch * heads * tokens)) {
    const head = Math.floor(row / tokens) * tokens
    const weights = new Float64Array(tokens)
    let sum = 0
    for (let t = 0; t < (causal ? row - head + 1 : tokens); t++) {
      let score = 0
      for (let d = 0; d < width; d++) score += q[row * width + d]! * k[(head + t) * width + d]!
      sum += weights[t] = Math.exp(score / Math.sqrt(width))
    }
    for (let d = 0; d < width; d++) {
      let value = 0
      for (let t = 0; t < tokens; t++) value += weights[t]! * v[(head + t) * width + d]!
      out[row * width + d] = value / sum
    }
  }
  return out
}
