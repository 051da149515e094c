import { streamOf } from '../random/index.ts'
import type { KernelCase } from '../spec.ts'
import { rowsPerGroup } from './matmul.ts'
import { type BatchView, type Element, EPILOGUE, type Matmul } from './problem.ts'

interface Shape {
  name?: string
  /** The sizes m, n and k. */
  size: [number, number, number]
  /** Sizes of the batch dims; A and B repeat along those that `repeatA` and `repeatB` name. */
  batch?: [number, number, number]
  repeatA?: number[]
  repeatB?: number[]
  /** Whether A is stored with k as its outer dim, and B with k as its inner one. */
  transA?: boolean
  transB?: boolean
  /** The number of elements before each operand, and of unused elements between its rows. */
  offset?: number
  gap?: number
  flags?: number
  /** Whether the residual has one row for all rows of C. */
  auxBroadcast?: boolean
  splits?: number
  /** The operands that are float16. */
  half?: readonly Element[]
  bench?: boolean
}

/** The view of row-major matrices of `size` elements: a stride for each batch dim, 0 where the matrices repeat. */
function batchView(offset: number, size: number, batch: readonly number[], repeat: readonly number[] = []): BatchView {
  let stride = size
  const strides = [0, 0, 0]
  for (const d of [2, 1, 0]) {
    if (repeat.includes(d)) continue
    strides[d] = stride
    stride *= batch[d]!
  }
  return [offset, ...strides] as BatchView
}

/** Elements from the start of a buffer to the end of the last matrix of a view. */
function extent([offset, ...strides]: BatchView, batch: readonly number[], size: number): number {
  return offset + size + strides.reduce((sum, stride, d) => sum + stride * (batch[d]! - 1), 0)
}

/** The problem of a shape, its name, and the sizes of the operands that both kernels have in one form. */
function problemOf(shape: Shape) {
  const [m, n, k] = shape.size
  const { batch = [1, 1, 1], offset = 0, gap = 0, flags = 0, splits = 1, transA = false, transB = false } = shape
  const batches = batch[0] * batch[1] * batch[2]
  const pitchA = (transA ? m : k) + gap
  const pitchB = (transB ? k : n) + gap
  const sizeA = (transA ? k : m) * pitchA
  const sizeB = (transB ? n : k) * pitchB
  const a = batchView(offset, sizeA, batch, shape.repeatA)
  const b = batchView(offset, sizeB, batch, shape.repeatB)
  const aux = batchView(offset, m * n, batch)
  const chunk = splits === 1 ? k : 64 * Math.ceil(k / splits / 64)
  const problem: Matmul = {
    a,
    b,
    aux,
    m,
    n,
    k,
    batches,
    batch1: batch[1],
    batch2: batch[2],
    aRow: transA ? 1 : pitchA,
    aCol: transA ? pitchA : 1,
    bRow: transB ? 1 : pitchB,
    bCol: transB ? pitchB : 1,
    auxRow: shape.auxBroadcast ? 0 : n,
    rows: rowsPerGroup({ m, n, batches, splits }),
    splits: Math.ceil(k / chunk),
    chunk,
    flags,
    ...(flags & EPILOGUE.dropout ? { ...streamOf(12345678901234, 2 ** 33 + 1), threshold: 2 ** 30, keep: 4 / 3 } : {}),
    ...(shape.half ? { dtypes: Object.fromEntries(shape.half.map((name) => [name, 'f16' as const])) } : {}),
  }
  const epilogue = Object.entries(EPILOGUE).flatMap(([name, bit]) => (flags & bit ? [name] : []))
  const half = shape.half && `f16 ${shape.half.join('')}`
  const layout = `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`
  return {
    problem,
    size: m * n * batches,
    ...(shape.bench ? { bench: true } : {}),
    name: [shape.name, batches > 1 ? `[${batch}]` : '', `${m}x${n}x${k}`, layout, ...epilogue, half].filter(Boolean).join(' '),
    sizes: {
      a: extent(a, batch, sizeA),
      b: extent(b, batch, sizeB),
      bias: flags & EPILOGUE.bias ? n : 1,
      aux: flags & (EPILOGUE.geluGrad | EPILOGUE.add) ? extent(aux, batch, m * n) : 1,
      pre: flags & EPILOGUE.pre ? m * n * batches : 1,
    },
  }
}

function matmulCase(shape: Shape): KernelCase<Matmul> {
  const { size, sizes, ...kase } = problemOf(shape)
  return { ...kase, sizes: { ...sizes, c: size * kase.problem.splits } }
}

function combineCase(shape: Shape): KernelCase<Matmul> {
  const { size, sizes, ...kase } = problemOf(shape)
  const { bias, aux, pre } = sizes
  return { ...kase, sizes: { partials: size * kase.problem.splits, bias, aux, c: size, pre } }
}

/** A case of `matmul` for each choice of transposed operands. */
function transposedCases(shape: Shape): KernelCase<Matmul>[] {
  const choices = [false, true]
  return choices.flatMap((transA) => choices.map((transB) => matmulCase({ ...shape, transA, transB })))
}

const { bias, pre, gelu, geluGrad, dropout, add } = EPILOGUE

const allHalf: readonly Element[] = ['a', 'b', 'aux', 'c', 'pre']

const SIZES = [1, 7, 31, 33, 129, 257]

export const matmulCases: readonly KernelCase<Matmul>[] = [
  ...SIZES.flatMap((size, i) => transposedCases({ size: [size, SIZES.at(i - 1)!, SIZES.at(i - 2)!] })),
  ...transposedCases({ size: [64, 128, 192], offset: 4, gap: 8 }),
  matmulCase({ size: [1, 1, 1025] }),
  matmulCase({ size: [1025, 1, 1], transB: true }),
  matmulCase({ size: [1, 1025, 65] }),
  matmulCase({ name: 'all batch dims', size: [5, 6, 7], batch: [2, 3, 4], offset: 3 }),
  matmulCase({
    name: 'B repeats',
    size: [33, 12, 20],
    batch: [3, 1, 2],
    repeatB: [0, 2],
    transB: true,
    flags: bias,
    offset: 1,
  }),
  matmulCase({ name: 'A repeats', size: [9, 40, 70], batch: [2, 2, 2], repeatA: [1], transA: true }),
  matmulCase({ size: [37, 50, 100], transB: true, flags: bias | gelu | pre, gap: 3 }),
  matmulCase({ size: [64, 96, 64], transB: true, flags: bias | gelu | pre | add, batch: [1, 2, 1] }),
  matmulCase({ size: [33, 31, 129], flags: geluGrad }),
  matmulCase({ size: [33, 31, 129], transB: true, flags: bias | add }),
  matmulCase({ name: 'one row for all', size: [20, 21, 22], batch: [2, 1, 1], flags: add, auxBroadcast: true }),
  matmulCase({ size: [20, 33, 40], transB: true, flags: bias | gelu | pre | dropout | add, batch: [1, 1, 3] }),
  matmulCase({ size: [33, 40, 70], flags: geluGrad | dropout, half: ['c'] }),
  matmulCase({ size: [7, 3, 5], flags: dropout }),
  matmulCase({ name: 'split', size: [33, 20, 500], transA: true, splits: 3 }),
  matmulCase({ name: 'split', size: [7, 66, 129], splits: 2, batch: [1, 3, 1] }),
  ...transposedCases({ size: [67, 33, 200], half: ['a', 'b', 'c'] }),
  ...transposedCases({ size: [36, 68, 72], half: ['a', 'b'], offset: 4, gap: 4 }),
  matmulCase({ size: [1, 1, 1], half: allHalf }),
  matmulCase({ size: [129, 50, 130], transB: true, flags: bias | gelu | pre | add, half: allHalf, offset: 1, gap: 3 }),
  matmulCase({ size: [33, 31, 129], flags: geluGrad, half: allHalf }),
  matmulCase({ size: [40, 44, 130], transA: true, half: ['a', 'b', 'c'] }),
  matmulCase({ name: 'A repeats', size: [9, 40, 70], batch: [2, 2, 2], repeatA: [1], transA: true, half: ['a', 'b', 'c'] }),
  // These products occur in mixed precision: weights' gradients, and a product with a weight that was left in float32.
  matmulCase({ size: [40, 44, 1030], transA: true, half: ['a', 'b'] }),
  matmulCase({ size: [33, 20, 500], transA: true, splits: 3, half: ['a', 'b', 'c'] }),
  matmulCase({ size: [37, 50, 100], transB: true, flags: bias | pre | gelu, half: ['a', 'c'] }),
  ...transposedCases({ size: [1024, 1024, 1024], bench: true }),
  // These are a ViT layer's products at 32 x 65 tokens: forward, for the gradient of the input, and for that of the weight.
  matmulCase({ name: 'fc1', size: [2080, 512, 128], transB: true, flags: bias | gelu | pre, bench: true }),
  matmulCase({ name: 'fc2', size: [2080, 128, 512], transB: true, flags: bias | add, bench: true }),
  matmulCase({ name: 'fc1 input gradient', size: [2080, 128, 512], bench: true }),
  matmulCase({ name: 'fc1 weight gradient', size: [512, 128, 2080], transA: true, bench: true }),
  ...transposedCases({ size: [1024, 1024, 1024], half: ['a', 'b', 'c'], bench: true }),
]

export const combineCases: readonly KernelCase<Matmul>[] = [
  combineCase({ size: [1, 1, 128], splits: 2 }),
  combineCase({ size: [33, 31, 500], splits: 5, flags: bias | gelu | pre }),
  combineCase({ size: [7, 64, 500], splits: 3, flags: bias | add, batch: [2, 3, 1], offset: 2 }),
  combineCase({ size: [12, 9, 500], splits: 3, flags: geluGrad }),
  combineCase({ size: [12, 9, 500], splits: 3, flags: bias | dropout | add, batch: [2, 1, 1] }),
  combineCase({ size: [33, 31, 500], splits: 5, flags: bias | gelu | pre | add, half: ['aux', 'c', 'pre'] }),
  combineCase({ size: [12, 9, 500], splits: 3, half: ['c'] }),
  combineCase({ size: [512, 128, 4096], splits: 8, bench: true }),
]
