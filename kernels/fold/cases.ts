import { outputs, type Reduction, rowMajor, withChunk } from '../reduce/reduction.ts'
import type { Fill, KernelCase } from '../spec.ts'
import { FOLD_FLAGS, type Fold, type FoldBackward, type FoldCombine, type FoldOp, type FoldResult } from './fold.ts'

const SHAPES: [string, Reduction][] = [
  ...[1, 7, 33, 257].flatMap((n): [string, Reduction][] => [
    [`[5, ${n}]`, rowMajor(5, n, 1)],
    [`[3, ${n}, 7] over 1`, rowMajor(3, n, 7)],
  ]),
  ['[2, 40, 33] over 1', rowMajor(2, 40, 33)],
  ['[3, 5000]', rowMajor(3, 5000, 1)],
  ['[1, 20000]', rowMajor(1, 20_000, 1)],
  ['columns 3 to 24 of [9, 29] over 0', { ...rowMajor(1, 9, 21), offset: 3, nStride: 29 }],
]

function inputSize(r: Reduction): number {
  return r.offset + (r.outer - 1) * r.outerStride + (r.n - 1) * r.nStride + (r.inner - 1) * r.innerStride + 1
}

/** Elements near 1, of which some lines have one zero, and some have more. */
const factors: Fill = (i, random) => (i % 97 === 5 || i % 501 === 7 ? 0 : (random() < 0.5 ? -1 : 1) * (0.99 + 0.02 * random()))
/** Mostly zeros for `any`, mostly others for `all`. */
const truths =
  (op: FoldOp): Fill =>
  (i, random) =>
    random() < 0.01 === (op === 'any') ? (i % 2 ? -1 : 1) : 0

function fillOf(op: FoldOp, dtype: Fold['dtype']): Fill {
  if (op === 'any' || op === 'all') return truths(op)
  if (op !== 'prod') return op === 'moments' ? (_, random) => 100 + random() : 'normal'
  return dtype === 'i32' ? (i) => [1, -1, 3, 1, 1, 1, 1, 5][i % 8]! : factors
}

function resultOf(op: FoldOp, more: Partial<FoldResult>): FoldResult {
  return { op, dtype: 'f32', scale: 1 / 32, flags: 0, ...more }
}

function foldCase(name: string, reduction: Reduction, op: FoldOp, more: Partial<Fold> = {}): KernelCase<Fold> {
  const problem: Fold = { ...reduction, ...resultOf(op, more) }
  const count = outputs(problem)
  return {
    name: `${op} of ${name}${problem.flags ? `, flags ${problem.flags}` : ''} of ${problem.dtype}`,
    problem,
    sizes: { input: inputSize(problem), values: count, extras: count },
    fills: { input: fillOf(op, problem.dtype) },
    // Products of some thousand factors have as many roundings.
    tolerance: op === 'prod' ? 1e-4 : 2e-6,
  }
}

/** Lines along the last dim alone, which take one pipeline of each variant. */
const ROWS = SHAPES.filter(([, { inner }]) => inner === 1)
const LONG_ROWS = ROWS.slice(-3)

export const foldCases: KernelCase<Fold>[] = [
  ...SHAPES.map(([name, reduction]) => foldCase(name, reduction, 'moments')),
  ...(['norm', 'logsumexp', 'prod', 'any', 'all'] as const).flatMap((op) =>
    ROWS.map(([name, reduction]) => foldCase(name, reduction, op)),
  ),
  ...(['moments', 'logsumexp'] as const).flatMap((op) =>
    LONG_ROWS.map(([name, reduction]) => foldCase(name, withChunk(reduction, 100), op, { flags: FOLD_FLAGS.partial })),
  ),
  ...(['prod', 'any'] as const).flatMap((op) =>
    LONG_ROWS.map(([name, reduction]) => foldCase(name, reduction, op, { dtype: 'i32' })),
  ),
  ...LONG_ROWS.map(([name, reduction]) => ({ ...foldCase(name, reduction, 'norm', { dtype: 'f16' }), tolerance: 1e-5 })),
  ...LONG_ROWS.map(([name, reduction]) => foldCase(name, reduction, 'moments', { flags: FOLD_FLAGS.root })),
  { ...foldCase('[1024, 1024]', rowMajor(1024, 1024, 1), 'moments'), bench: true },
  { ...foldCase('[1024, 1024]', rowMajor(1024, 1024, 1), 'logsumexp'), bench: true },
]

function combineCase(
  op: FoldOp,
  outer: number,
  n: number,
  inner: number,
  chunk: number,
  group: number,
): KernelCase<FoldCombine> {
  const chunks = Math.ceil(n / chunk)
  const made = Math.ceil(chunks / group)
  const flags = made > 1 ? FOLD_FLAGS.partial : 0
  const problem: FoldCombine = { ...resultOf(op, { flags }), outer, n, inner, chunk, chunks, group }
  const [pieces, results] = [outer * chunks * inner, outer * made * inner]
  // The second words of products count zeros.
  const extras: Fill = op === 'prod' ? (i) => (i % 5 === 0 ? 1 : 0) : (_, random) => 1 + random()
  return {
    name: `${op} of [${outer}, ${chunks}, ${inner}] by ${group}`,
    problem,
    sizes: { pieceValues: pieces, pieceExtras: pieces, values: results, extras: results },
    fills: {
      pieceValues: op === 'any' || op === 'all' ? (i) => (i % 3 === 0 ? 1 : 0) : (_, random) => 1 + random(),
      pieceExtras: extras,
    },
  }
}

export const foldCombineCases: KernelCase<FoldCombine>[] = (['moments', 'logsumexp', 'prod', 'any'] as const).flatMap((op) => [
  combineCase(op, 3, 7, 1, 7, 48),
  combineCase(op, 2, 400, 33, 12, 48),
  combineCase(op, 1, 5000, 1, 16, 10),
])

export const foldBackwardCases: KernelCase<FoldBackward>[] = (['norm', 'moments', 'logsumexp', 'prod'] as const).flatMap((op) =>
  [0, ...(op === 'moments' ? [1] : [])].flatMap((root) =>
    (
      [
        [1, 1, 1],
        [5, 33, 1],
        [3, 9, 7],
      ] as const
    ).map(([outer, n, inner]): KernelCase<FoldBackward> => {
      const [size, lines] = [outer * n * inner, outer * inner]
      return {
        name: `${op}${root ? ', root' : ''} of [${outer}, ${n}, ${inner}]`,
        problem: { outer, n, inner, op, scale: 0.25, root },
        sizes: { x: size, values: lines, extras: lines, grad: lines, dx: size },
        fills: { x: op === 'prod' ? factors : 'normal', values: (i) => (i % 4 === 3 && op !== 'prod' ? 0 : 1 + i / 8) },
      }
    }),
  ),
)
