import { type Layout, type NestProblem, reach } from '../layout.ts'
import type { Fill, KernelCase } from '../spec.ts'
import { type Accumulate, accumulateProblem } from './accumulate.ts'
import { BINARY, type Binary, type BinaryOp, binaryProblem } from './binary.ts'
import { type Pow, type PowBackward, powBackwardProblem, powProblem } from './pow.ts'
import { SCALAR, type ScalarOp, type WithScalar } from './scalar.ts'
import { UNARY, type Unary, type UnaryBackward, type UnaryOp } from './unary.ts'
import { type Where, whereProblem } from './where.ts'

const SIZES = [1, 2, 3, 4, 7, 31, 33, 129, 257, 1025, 8200]
/** More than each thread's first turn, no multiple of anything. */
const SHARES = 100_003
const MILLION = 1_000_000

const between =
  (low: number, high: number): Fill =>
  (_, random) =>
    low + (high - low) * random()
const large: Fill = (_, random) => (random() - 0.5) * 2 * 10 ** (8 * random() - 4)
const integers: Fill = (_, random) => Math.floor(random() * 2 ** 32) - 2 ** 31
const small: Fill = (_, random) => Math.floor(random() * 200) - 100
const awayFromZero: Fill = (_, random) => (random() < 0.5 ? -1 : 1) * (0.3 + random())
const divisors: Fill = (_, random) => (random() < 0.5 ? -1 : 1) * (1 + Math.floor(random() * 50))

// Functions of one operand

/** Where each function is tried beyond the normal numbers: its domain, its tails, and where drivers lose digits. */
const RANGES: Record<UnaryOp, Record<string, Fill>> = {
  neg: { large },
  exp: {
    '-80 to 80': between(-80, 80),
    '-1 to 1': between(-1, 1),
    '0 and far below': (index) => (index === 0 ? 0 : -1000 * index),
  },
  log: { '0 to 1': between(1e-6, 1), 'near 1': between(0.99, 1.01), large: between(1, 1e30) },
  sqrt: { '0 to 10': between(0, 10), large: between(0, 1e30), zeros: () => 0 },
  tanh: { 'large and small': large, '1e-4': between(-1e-4, 1e-4), middle: between(-3, 3), zeros: () => 0 },
  relu: { large },
  gelu: {
    '-6 to 6': between(-6, 6),
    'left tail': between(-9, -3),
    '1e-4': between(-1e-4, 1e-4),
    'large and small': large,
    'minus zeros': () => -0,
  },
  sigmoid: { 'large and small': large, '-80 to 80': between(-80, 80), 'left tail': between(-85, -20) },
}

const NORMAL_DOMAIN: Partial<Record<UnaryOp, Fill>> = { log: between(0.1, 3), sqrt: between(0, 3) }

/** Relative errors beyond the general limit: exp of a number with a rounding error of 4e-6 cannot be better. */
const LIMITS: Partial<Record<UnaryOp, number>> = { gelu: 1e-6, tanh: 1e-6, sigmoid: 2e-6, neg: 0, relu: 0 }

const unaryOps = Object.keys(UNARY) as UnaryOp[]

export const unaryCases: KernelCase<Unary>[] = unaryOps.flatMap((op) => {
  const make = (name: string, count: number, x: Fill): KernelCase<Unary> => ({
    name: `${op}, ${name}`,
    problem: { op, count },
    sizes: { x: count, y: count },
    fills: { x },
    tolerance: LIMITS[op] ?? 1e-5,
  })
  return [
    ...(op === 'gelu' ? [...SIZES, SHARES] : [1, 6, 1025]).map((count) =>
      make(`${count}`, count, NORMAL_DOMAIN[op] ?? 'normal'),
    ),
    ...Object.entries(RANGES[op]).map(([name, fill]) => make(name, 1025, fill)),
    ...(op === 'gelu' ? [{ ...make('far left tail', 1025, between(-13, -9)), tolerance: 1e-5 }] : []),
    { ...make('1e6', MILLION, NORMAL_DOMAIN[op] ?? 'normal'), bench: true },
  ]
})

const SAVED: Partial<Record<UnaryOp, Fill>> = {
  exp: between(0, 20),
  log: between(0.1, 3),
  sqrt: between(0.1, 3),
  tanh: between(-1, 1),
  relu: (_, random) => Math.max(0, random() - 0.5),
  sigmoid: between(0, 1),
}

export const unaryBackwardCases: KernelCase<UnaryBackward>[] = unaryOps
  .filter((op) => op !== 'neg')
  .flatMap((op) => {
    const make = (name: string, count: number, saved: Fill): KernelCase<UnaryBackward> => ({
      name: `${op}, ${name}`,
      problem: { op, count },
      sizes: { grad: count, saved: count, out: count },
      fills: { saved },
      tolerance: 2e-6,
    })
    return [
      ...(op === 'gelu' ? SIZES : [1, 6, 1025]).map((count) => make(`${count}`, count, SAVED[op] ?? 'normal')),
      ...(op === 'gelu' ? Object.entries(RANGES.gelu) : []).map(([name, fill]) => make(name, 1025, fill)),
      { ...make('1e6', MILLION, SAVED[op] ?? 'normal'), bench: true },
    ]
  })

/** Cases of numbers that float16 can hold: normal ones, and for `gelu` its tails. */
export const unaryHalfCases: KernelCase<Unary>[] = unaryOps.flatMap((op) => {
  const make = (name: string, count: number, x: Fill): KernelCase<Unary> => ({
    name: `${op}, ${name}`,
    problem: { op, count },
    sizes: { x: count, y: count },
    fills: { x },
  })
  return [
    ...(op === 'gelu' ? SIZES : [1, 6, 1025]).map((count) => make(`${count}`, count, NORMAL_DOMAIN[op] ?? 'normal')),
    ...(op === 'gelu' ? [make('-6 to 6', 1025, between(-6, 6)), { ...make('1e6', MILLION, 'normal'), bench: true }] : []),
  ]
})

export const unaryBackwardHalfCases: KernelCase<UnaryBackward>[] = unaryOps
  .filter((op) => op !== 'neg')
  .flatMap((op) =>
    (op === 'gelu' ? SIZES : [1, 6, 1025]).map((count) => ({
      name: `${op}, ${count}`,
      problem: { op, count },
      sizes: { grad: count, saved: count, out: count },
      fills: { saved: SAVED[op] ?? 'normal' },
    })),
  )

// One operand and a number

function scalarCase(op: ScalarOp, count: number, scalar: number, x: Fill): KernelCase<WithScalar> {
  return { name: `${op} ${scalar}, ${count}`, problem: { op, count, scalar }, sizes: { x: count, out: count }, fills: { x } }
}

const scalarOps = Object.keys(SCALAR) as ScalarOp[]

export const scalarCases: KernelCase<WithScalar>[] = [
  ...SIZES.map((count) => scalarCase('mul', count, 0.37, 'normal')),
  ...scalarOps.flatMap((op) => [scalarCase(op, 1025, -2.7, awayFromZero), scalarCase(op, 36, 1e4, awayFromZero)]),
  scalarCase('mul', 33, 0, 'normal'),
]

export const scalarHalfCases: KernelCase<WithScalar>[] = [
  ...SIZES.map((count) => scalarCase('mul', count, 0.37, 'normal')),
  ...scalarOps.flatMap((op) => [scalarCase(op, 1025, -2.7, awayFromZero), scalarCase(op, 36, 100, awayFromZero)]),
  // A number that float16 would make 0.
  scalarCase('div', 33, 1e-8, () => 6e-6),
]

export const scalarIntCases: KernelCase<WithScalar>[] = scalarOps.flatMap((op) => [
  scalarCase(op, 1025, -7, op === 'divInto' ? divisors : small),
  scalarCase(op, 36, 2_000_000_011, op === 'divInto' ? divisors : integers),
])

// Casts

const castCase = (count: number, x: Fill): KernelCase<{ count: number }> => ({
  name: `${count}`,
  problem: { count },
  sizes: { x: count, y: count },
  fills: { x },
  tolerance: 0,
})

export const castToIntCases = SIZES.map((count) => castCase(count, between(-1e6, 1e6)))
export const castToFloatCases = SIZES.map((count) => castCase(count, (_, random) => Math.floor((random() - 0.5) * 2 ** 24)))

// Strided kernels

/** Row-major, broadcast where the size is 1 and the shape's is not. */
function broadcast(own: readonly number[], shape: readonly number[], offset = 0): Layout {
  const strides = new Array<number>(shape.length).fill(0)
  let stride = 1
  for (let d = shape.length - 1; d >= 0; d--) {
    const size = own[d - shape.length + own.length] ?? 1
    if (size !== 1) strides[d] = stride
    stride *= size
  }
  return { strides, offset }
}

interface Pair {
  name: string
  shape: number[]
  a: Layout
  b: Layout
}

function pair(shape: number[], a: readonly number[], b: readonly number[], offsets: [number, number] = [0, 0]): Pair {
  const name = `[${a}] with [${b}]${offsets.some((offset) => offset > 0) ? ` at ${offsets}` : ''}`
  return { name, shape, a: broadcast(a, shape, offsets[0]), b: broadcast(b, shape, offsets[1]) }
}

/** Shapes that meet in all the ways of broadcasting, and views: transposed, sliced, with any first element. */
const PAIRS: Pair[] = [
  pair([], [], []),
  ...SIZES.map((n) => pair([n], [n], [n])),
  pair([37], [37], [1]),
  pair([36], [1], [36]),
  pair([5, 36], [5, 36], [36]),
  pair([5, 36], [36], [5, 36]),
  pair([5, 37], [5, 37], [37]),
  pair([5, 36], [5, 1], [5, 36]),
  pair([5, 36], [5, 1], [1, 36]),
  pair([7, 5, 36], [7, 1, 36], [5, 1]),
  pair([3, 4, 5], [3, 1, 5], [4, 1]),
  pair([2, 3, 4, 5, 2, 3, 2, 2], [2, 1, 4, 1, 2, 1, 2, 1], [1, 3, 1, 5, 1, 3, 1, 2]),
  pair([4, 2, 300], [4, 1, 300], [2, 300]),
  pair([9, 260], [9, 260], [9, 260], [4, 64]),
  pair([9, 260], [9, 260], [260], [3, 1]),
  pair([7, 8], [7, 8], [7, 8], [1, 2]),
  { name: 'transposed [33, 17]', shape: [17, 33], a: { strides: [1, 17], offset: 0 }, b: { strides: [33, 1], offset: 0 } },
  { name: 'two transposed', shape: [6, 8], a: { strides: [1, 6], offset: 5 }, b: { strides: [1, 6], offset: 0 } },
  { name: 'columns of wider rows', shape: [6, 8], a: { strides: [20, 1], offset: 8 }, b: { strides: [12, 1], offset: 4 } },
  { name: 'odd columns', shape: [6, 8], a: { strides: [21, 1], offset: 3 }, b: { strides: [8, 1], offset: 0 } },
]

/** A case of a kernel whose inputs are the operands of its nest, by name. */
function nestCase<P extends NestProblem>(
  name: string,
  operands: readonly string[],
  problem: P,
  more: Partial<KernelCase<P>> = {},
): KernelCase<P> {
  const sizes: Record<string, number> = { out: problem.rows * problem.inner }
  for (const [k, operand] of operands.entries()) sizes[operand] = reach(problem, problem.walks[k]!)
  return { name, problem, sizes, ...more }
}

const AB = ['a', 'b']
const GRAD_AB = ['grad', 'a', 'b']
const CONDITION_AB = ['condition', 'a', 'b']

const binaryOps = Object.keys(BINARY) as BinaryOp[]

function binaryCase(op: BinaryOp, { name, shape, a, b }: Pair, fills: Record<string, Fill>): KernelCase<Binary> {
  return nestCase(`${op}, ${name}`, AB, binaryProblem(op, shape, a, b), { fills })
}

export const binaryCases: KernelCase<Binary>[] = [
  ...PAIRS.flatMap((one) => (['sub', 'div'] as const).map((op) => binaryCase(op, one, { b: awayFromZero }))),
  ...binaryOps.map((op) => binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { a: large, b: awayFromZero })),
  binaryCase('sub', pair([SHARES], [SHARES], [SHARES]), {}),
  { ...binaryCase('add', pair([MILLION], [MILLION], [MILLION]), {}), bench: true },
  { ...binaryCase('add', pair([5208, 192], [5208, 192], [192]), {}), bench: true },
  { ...binaryCase('add', pair([5405, 185], [5405, 185], [185]), {}), bench: true },
]

export const binaryHalfCases: KernelCase<Binary>[] = [
  ...PAIRS.flatMap((one) => (['sub', 'div'] as const).map((op) => binaryCase(op, one, { b: awayFromZero }))),
  ...binaryOps.map((op) => binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { b: awayFromZero })),
]

export const binaryIntCases: KernelCase<Binary>[] = [
  ...PAIRS.map((one) => binaryCase('div', one, { a: integers, b: divisors })),
  ...binaryOps.map((op) =>
    binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { a: integers, b: op === 'div' ? divisors : integers }),
  ),
]

const exponents: Fill = (_, random) => Math.floor(random() * 9) - 3
const mixed: Fill = (index, random) =>
  [0, 0.5, 1, 1.5, 2, 3, -0.5, -1, -2.25][index % 9]! + (index % 2) * Math.floor(random() * 2)
const positive = between(0.2, 4)

export const powCases: KernelCase<Pow>[] = [
  ...PAIRS.map((one) =>
    nestCase(one.name, AB, powProblem(one.shape, one.a, one.b), { fills: { a: awayFromZero, b: exponents } }),
  ),
  ...Object.entries({
    'positive bases, any exponent': { a: positive, b: mixed },
    squares: { a: 'normal', b: () => 2 },
    'bases of 0, exponents from 0 on': { a: () => 0, b: (index: number) => [0, 1, 2, 0.5, 3, 100][index % 6]! },
    'exponents of 0': { a: large, b: () => 0 },
    'large even and odd exponents of negative bases': { a: between(-1.1, -0.9), b: (index: number) => 65 + (index % 9) },
    'roots of large numbers': { a: between(1e10, 1e30), b: () => 0.5 },
  } satisfies Record<string, Record<string, Fill>>).map(([name, fills]) =>
    nestCase(name, AB, powProblem([1025], { strides: [1], offset: 0 }, { strides: [1], offset: 0 }), { fills }),
  ),
]

const flat: Layout = { strides: [1], offset: 0 }

export const powBackwardCases: KernelCase<PowBackward>[] = [false, true].flatMap((exponent) => {
  const what = exponent ? 'by the exponent' : 'by the base'
  const make = (name: string, { shape, a, b }: Omit<Pair, 'name'>, fills: Record<string, Fill>) =>
    nestCase(`${what}, ${name}`, GRAD_AB, powBackwardProblem(exponent, shape, broadcast(shape, shape), a, b), { fills })
  return [
    ...PAIRS.slice(-12).map((one) => make(one.name, one, { a: positive, b: mixed })),
    make(
      'a broadcast gradient',
      { shape: [5, 9], a: broadcast([9], [5, 9]), b: broadcast([5, 1], [5, 9]) },
      { a: positive, b: mixed },
    ),
    make('negative bases', { shape: [1025], a: flat, b: flat }, { a: awayFromZero, b: exponents }),
    make('bases of 0', { shape: [36], a: flat, b: flat }, { a: () => 0, b: (index) => [0, 1, 2, 3][index % 4]! }),
  ]
})

const sometimes: Fill = (_, random) => Math.floor(random() * 3) - 1
const words: Fill = (_, random) => Math.floor(random() * 2 ** 32)

const whereBase: KernelCase<Where>[] = PAIRS.flatMap(({ name, shape, a, b }) => [
  nestCase(`${name}, whole condition`, CONDITION_AB, whereProblem(shape, broadcast(shape, shape), a, b)),
  nestCase(`${name}, one of them the condition`, CONDITION_AB, whereProblem(shape, a, b, broadcast([], shape))),
])

export const whereCases = whereBase.map((one) => ({ ...one, fills: { condition: sometimes, a: words, b: words } }))

export const accumulateCases: KernelCase<Accumulate>[] = PAIRS.flatMap(({ name, shape, a, b }) =>
  [a, b].map((x, k) => nestCase(`${name}, operand ${k}`, ['x'], accumulateProblem(shape, x), { fills: { out: 'normal' } })),
)
