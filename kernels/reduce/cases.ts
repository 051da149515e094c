import type { AxisView } from '../axisView.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { MaxCombine } from './max.ts'
import { outputs, type Reduction, rowMajor, withChunk } from './reduction.ts'
import type { Sum } from './sum.ts'

const SIZES = [1, 7, 31, 33, 129, 257, 1025]

/** Elements that the input must hold: one more than the last one read. */
function inputSize(r: Reduction): number {
  return r.offset + (r.outer - 1) * r.outerStride + (r.n - 1) * r.nStride + (r.inner - 1) * r.innerStride + 1
}

/** Every odd size at each place of the axis, lengths that vec4 loads take, pieces, and strided inputs. */
const SHAPES: [string, Reduction][] = [
  ...SIZES.flatMap((n): [string, Reduction][] => [
    [`[${n}]`, rowMajor(1, n, 1)],
    [`[5, ${n}]`, rowMajor(5, n, 1)],
    [`[${n}, 3] over 0`, rowMajor(1, n, 3)],
    [`[3, ${n}, 7] over 1`, rowMajor(3, n, 7)],
    [`[3, 7, ${n}] over 1`, rowMajor(3, 7, n)],
    [`[${n}, 7, 3] over 1`, rowMajor(n, 7, 3)],
  ]),
  ['[67, 192]', rowMajor(67, 192, 1)],
  ['[9, 1028]', rowMajor(9, 1028, 1)],
  ['[129, 36] over 0', rowMajor(1, 129, 36)],
  ['[3, 33, 132] over 1', rowMajor(3, 33, 132)],
  ['[700, 192] over 0 in pieces of 64', withChunk(rowMajor(1, 700, 192), 64)],
  ['[2, 100, 5] over 1 in pieces of 7', withChunk(rowMajor(2, 100, 5), 7)],
  ['[3, 5000] in pieces of 1024', withChunk(rowMajor(3, 5000, 1), 1024)],
  ['[100003] in pieces of 4096', withChunk(rowMajor(1, 100003, 1), 4096)],
  ['columns 4 to 24 of [9, 28]', { ...rowMajor(9, 20, 1), offset: 4, outerStride: 28 }],
  ['columns 3 to 24 of [9, 29] over 0', { ...rowMajor(1, 9, 21), offset: 3, nStride: 29 }],
  ['every row of a transposed [33, 12]', { ...rowMajor(12, 33, 1), outerStride: 1, nStride: 12 }],
  ['rows inside of [4, 6, 8], transposed', { ...rowMajor(4, 8, 6), outerStride: 48, nStride: 1, innerStride: 8 }],
  ['a broadcast element', { ...rowMajor(2, 9, 4), outerStride: 1, nStride: 0, innerStride: 0 }],
]

const MILLION = 1_000_000

function sumCase(name: string, reduction: Reduction, more: Partial<KernelCase<Sum>> = {}, scale = 1): KernelCase<Sum> {
  return {
    name,
    problem: { ...reduction, scale },
    sizes: { input: inputSize(reduction), output: outputs(reduction) },
    ...more,
  }
}

export const sumCases: KernelCase<Sum>[] = [
  ...SHAPES.map(([name, reduction]) => sumCase(name, reduction)),
  sumCase('mean of [31, 33]', rowMajor(31, 33, 1), {}, 1 / 33),
  sumCase('mean of [33, 12] over 0', rowMajor(1, 33, 12), {}, 1 / 33),
  sumCase('mean of rows around 1000', rowMajor(5, 1000, 1), { fills: { input: (_, random) => 1000 + random() } }, 1 / 1000),
  sumCase('1e6 normal', rowMajor(1, MILLION, 1), { tolerance: 1e-6 }),
  sumCase('1e6 uniform', rowMajor(1, MILLION, 1), { fills: { input: 'uniform' }, tolerance: 1e-6 }),
  sumCase('1e6 uniform over 0 of 4', rowMajor(1, MILLION, 4), { fills: { input: 'uniform' }, tolerance: 1e-6 }),
  // Equal elements have rounding errors of one sign: the worst that rounding can do.
  ...[0.1, 0.7].flatMap((value) => {
    const constant = { fills: { input: () => value }, tolerance: 1e-6 }
    return [
      sumCase(`1000003 of ${value}`, rowMajor(1, MILLION + 3, 1), constant),
      sumCase(`4e5 of ${value}`, rowMajor(1, 400_000, 1), constant),
      sumCase(`200001 of ${value} over 0 of 3`, rowMajor(1, 200_001, 3), constant),
    ]
  }),
  sumCase('1e7 of 0.1 over 0 of 2, in pieces', withChunk(rowMajor(1, 5 * MILLION, 2), 78125), {
    fills: { input: () => 0.1 },
    tolerance: 1e-6,
  }),
  sumCase('1e6 in pieces', withChunk(rowMajor(1, MILLION, 1), 1956), { tolerance: 1e-6, bench: true }),
  sumCase('[2176, 192] over 0', withChunk(rowMajor(1, 2176, 192), 272), { bench: true }),
  sumCase('[12608, 768] over 0', withChunk(rowMajor(1, 12608, 768), 4204), { bench: true }),
]

export const sumHalfCases: KernelCase<Sum>[] = [
  ...SHAPES.map(([name, reduction]) => sumCase(name, reduction)),
  sumCase('mean of [31, 33]', rowMajor(31, 33, 1), {}, 1 / 33),
  sumCase('1e6 uniform over 0 of 4, beyond float16', rowMajor(1, MILLION, 4), { fills: { input: 'uniform' } }),
  sumCase('[12608, 768] over 0', withChunk(rowMajor(1, 12608, 768), 4204), { bench: true }),
]

const integers: Fill = (_, random) => Math.floor(random() * 2 ** 31) - 2 ** 30

export const sumIntCases: KernelCase<Sum>[] = SHAPES.map(([name, reduction]) =>
  sumCase(name, reduction, { fills: { input: integers } }),
)

function maxCase(name: string, reduction: Reduction, fill?: Fill): KernelCase<Reduction> {
  return {
    name,
    problem: reduction,
    sizes: { input: inputSize(reduction), values: outputs(reduction), indices: outputs(reduction) },
    tolerance: 0,
    ...(fill ? { fills: { input: fill } } : {}),
  }
}

const ties: Fill = (_, random) => Math.floor(random() * 3) - 1
const negative: Fill = (_, random) => -1e30 * (1 + random())

export const maxCases: KernelCase<Reduction>[] = [
  ...SHAPES.map(([name, reduction]) => maxCase(name, reduction)),
  ...SHAPES.map(([name, reduction]) => maxCase(`${name}, ties`, reduction, ties)),
  maxCase('all equal', rowMajor(4, 1028, 1), () => 2.5),
  maxCase('all negative and large', rowMajor(7, 257, 1), negative),
  maxCase('all negative and large, over 0', rowMajor(1, 257, 8), negative),
]

export const maxIntCases: KernelCase<Reduction>[] = [
  ...SHAPES.map(([name, reduction]) => maxCase(name, reduction, integers)),
  maxCase('ties', rowMajor(9, 1028, 1), ties),
  maxCase('neighbours that float32 could not tell apart', rowMajor(3, 100, 4), (index) => 2 ** 30 + ((index * 7) % 101)),
  maxCase('the smallest integer', rowMajor(3, 33, 1), () => -(2 ** 31)),
]

function combineCase(outer: number, chunks: number, inner: number, fill: Fill): KernelCase<MaxCombine> {
  return {
    name: `[${outer}, ${chunks}, ${inner}]`,
    problem: { outer, chunks, inner },
    sizes: {
      pieceValues: outer * chunks * inner,
      pieceIndices: outer * chunks * inner,
      values: outer * inner,
      indices: outer * inner,
    },
    fills: { pieceValues: fill, pieceIndices: (index) => 10 * index },
    tolerance: 0,
  }
}

export const maxCombineCases: KernelCase<MaxCombine>[] = [
  combineCase(1, 1, 1, ties),
  combineCase(3, 31, 1, ties),
  combineCase(2, 129, 33, ties),
]

export const maxCombineIntCases: KernelCase<MaxCombine>[] = [combineCase(2, 33, 7, integers), combineCase(3, 31, 1, ties)]

function backwardCase(outer: number, n: number, inner: number): KernelCase<AxisView> {
  return {
    name: `[${outer}, ${n}, ${inner}]`,
    problem: { outer, n, inner },
    sizes: { indices: outer * inner, gradOutput: outer * inner, gradInput: outer * n * inner },
    fills: { indices: (_, random) => Math.floor(random() * n) },
    tolerance: 0,
  }
}

export const maxBackwardCases: KernelCase<AxisView>[] = [
  ...SIZES.flatMap((n) => [backwardCase(1, n, 1), backwardCase(5, n, 3), backwardCase(3, 2, n), backwardCase(n, 3, 1)]),
  backwardCase(2, 33, 8),
]

export const minCases: KernelCase<Reduction>[] = [
  ...SHAPES.slice(3, -1).map(([name, reduction]) => maxCase(`min of ${name}, ties`, reduction, ties)),
  maxCase('all equal', rowMajor(4, 1028, 1), () => 2.5),
  maxCase('all negative and large, over 0', rowMajor(1, 257, 8), negative),
]

export const minIntCases: KernelCase<Reduction>[] = [
  maxCase('ties', rowMajor(9, 1028, 1), ties),
  maxCase('any', rowMajor(3, 129, 5), integers),
  maxCase('the smallest and the largest integer', rowMajor(3, 33, 4), (i) => (i % 7 === 5 ? -(2 ** 31) : 2 ** 31 - 1)),
]
