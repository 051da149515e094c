import { shapesOf } from '../fill.ts'
import type { Rows } from '../rows.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { LayerNormProblem } from './layerNorm.ts'
import type { LayerNormBackwardProblem, LayerNormCombineProblem } from './layerNormBackward.ts'

const EPS = 1e-5

const SHAPES = shapesOf<[rows: number, n: number]>('1x1 7x1 5x7 33x31 600x33 1025x4 9x128 129x129 2x257 7x1025 3x1028 1x5000')

/** Contiguous rows, then rows of a larger tensor: with and without a vec4 path. */
export const ROWS: readonly Rows[] = [
  ...SHAPES.map(([rows, n]) => ({ rows, n, xOffset: 0, xStride: n })),
  { rows: 9, n: 33, xOffset: 5, xStride: 33 * 4 },
  { rows: 9, n: 64, xOffset: 64, xStride: 64 * 5 },
  { rows: 9, n: 64, xOffset: 2, xStride: 65 },
]

export function named({ rows, n, xOffset, xStride }: Rows): string {
  return `[${rows}, ${n}]${xOffset > 0 ? ` offset ${xOffset} stride ${xStride}` : ''}`
}

/** The elements of x's buffer. */
export function xSize({ rows, n, xOffset, xStride }: Rows): number {
  return xOffset + (rows - 1) * xStride + n
}

function forward(rows: Rows, name: string, x: Fill): KernelCase<LayerNormProblem> {
  const size = rows.rows * rows.n
  return {
    name,
    problem: { ...rows, eps: EPS },
    sizes: { x: xSize(rows), weight: rows.n, bias: rows.n, y: size, center: rows.rows, rstd: rows.rows },
    fills: { x },
  }
}

/** A uniform number of variance 1. */
function spread(random: () => number): number {
  return Math.sqrt(12) * (random() - 0.5)
}

export const BENCH: Rows = { rows: 1024, n: 512, xOffset: 0, xStride: 512 }
const LARGE: Rows = { rows: 33, n: 257, xOffset: 0, xStride: 257 }
const WIDE: Rows = { rows: 9, n: 1024, xOffset: 0, xStride: 1024 }

export const layerNormCases: readonly KernelCase<LayerNormProblem>[] = [
  ...ROWS.map((rows) => forward(rows, named(rows), 'normal')),
  forward(LARGE, 'mean 1000', (_, random) => 1000 + spread(random)),
  forward(WIDE, 'mean 1000, vec4', (_, random) => 1000 + spread(random)),
  forward(WIDE, 'mean -1e5, vec4', (_, random) => -1e5 + spread(random)),
  forward(LARGE, 'small variance', (_, random) => 3e-3 * spread(random)),
  forward(WIDE, 'first element far off', (index, random) => (index % 1024 === 0 ? 1e4 : spread(random))),
  forward(WIDE, 'rows of equal values', (index) => Math.floor(index / 1024) * 0.3 - 1),
  { ...forward(BENCH, 'bench [1024, 512]', 'normal'), bench: true },
]

export function positive(_: number, random: () => number): number {
  return 0.5 + random()
}

interface Wanted {
  input?: boolean
  chunks?: number
  /** Whether the bias's gradients lie before the weight's. */
  swapped?: boolean
}

function backward(
  rows: Rows,
  { input = true, chunks = 1, swapped = false }: Wanted = {},
): KernelCase<LayerNormBackwardProblem> {
  const size = rows.rows * rows.n
  const second = chunks * rows.n
  const place = swapped ? { weightOffset: second, toBias: -second >>> 0 } : { weightOffset: 0, toBias: second }
  return {
    name: `${named(rows)}${input ? '' : ', not x,'} in ${chunks}`,
    problem: { ...rows, input, chunks, ...place },
    sizes: {
      x: xSize(rows),
      weight: rows.n,
      center: rows.rows,
      rstd: rows.rows,
      dy: size,
      dx: input ? size : 1,
      sums: Math.max(2 * second, 1),
    },
    fills: { rstd: positive },
  }
}

export const layerNormBackwardCases: readonly KernelCase<LayerNormBackwardProblem>[] = [
  ...ROWS.flatMap((rows) => [0, 1, 5].map((chunks) => backward(rows, { chunks, swapped: rows.n === 129 }))),
  ...ROWS.slice(-4).map((rows) => backward(rows, { input: false })),
  // Chunks of ceil(33 / 20) = 2 rows: the last ones are empty and must come out as zeros.
  backward({ rows: 33, n: 36, xOffset: 0, xStride: 36 }, { chunks: 20 }),
  { ...backward(BENCH), bench: true },
  { ...backward(BENCH, { chunks: 32 }), bench: true },
]

function combine(n: number, chunks: number, swapped: boolean): KernelCase<LayerNormCombineProblem> {
  return {
    name: `${chunks} of ${n}`,
    problem: { n, chunks, weightOffset: swapped ? n : 0, toBias: (swapped ? -n : n) >>> 0 },
    sizes: { sums: 2 * chunks * n, gradients: 2 * n },
  }
}

export const layerNormCombineCases: readonly KernelCase<LayerNormCombineProblem>[] = [
  combine(1, 1, false),
  combine(31, 7, true),
  combine(129, 128, false),
  combine(1025, 3, true),
]
