import type { Layout, NestProblem } from '../layout.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { ChainStep } from '../step.ts'
import { accumulateProblem } from './accumulate.ts'
import type { AddFour } from './addFour.ts'
import { BINARY, type Binary, type BinaryOp, binaryProblem } from './binary.ts'
import { CHAIN_SLOTS, CHAIN_STEPS, type Chain, chainProblem } from './chain.ts'
import { AB, broadcast, CONDITION_AB, GRAD_AB, nestCase, PAIRS, type Pair, pair, SIZES } from './pairs.ts'
import { type Pow, type PowBackward, powBackwardProblem, powProblem } from './pow.ts'
import { SCALAR, type ScalarOp, type WithScalar } from './scalar.ts'
import { UNARY, type Unary, type UnaryBackward, type UnaryOp } from './unary.ts'
import { type Where, whereProblem } from './where.ts'

/** A count that gives each thread several turns, and that no vector or workgroup divides. */
const SHARES = 100_003
const MILLION = 1_000_000

const between =
  (low: number, high: number): Fill =>
  (_, random) =>
    low + (high - low) * random()
export const large: Fill = (_, random) => (random() - 0.5) * 2 * 10 ** (8 * random() - 4)
export const integers: Fill = (_, random) => Math.floor(random() * 2 ** 32) - 2 ** 31
const small: Fill = (_, random) => Math.floor(random() * 200) - 100
export const awayFromZero: Fill = (_, random) => (random() < 0.5 ? -1 : 1) * (0.3 + random())
export const divisors: Fill = (_, random) => (random() < 0.5 ? -1 : 1) * (1 + Math.floor(random() * 50))

// The cases of functions of one operand follow.

/** The numbers on which each function is tried besides normal ones: its domain, its tails, and where drivers lose digits. */
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

/** Allowed errors below the limit of 1e-5, which exp needs: rounding a number near 80 changes its exponential by 4e-6. */
const LIMITS: Partial<Record<UnaryOp, number>> = { gelu: 1e-6, tanh: 1e-6, sigmoid: 2e-6, neg: 0, relu: 0 }

const unaryOps = Object.keys(UNARY) as UnaryOp[]

/** The counts to try a function with: few for most, since they share the code around the function with gelu. */
const countsOf = (op: UnaryOp, ofGelu = SIZES) => (op === 'gelu' ? ofGelu : [1, 6, 1025])

function unaryCase(op: UnaryOp, name: string, count: number, x: Fill = NORMAL_DOMAIN[op] ?? 'normal'): KernelCase<Unary> {
  return { name: `${op}, ${name}`, problem: { op, count }, sizes: { x: count, y: count }, fills: { x } }
}

export const unaryCases: KernelCase<Unary>[] = unaryOps.flatMap((op) =>
  [
    ...countsOf(op, [...SIZES, SHARES]).map((count) => unaryCase(op, `${count}`, count)),
    ...Object.entries(RANGES[op]).map(([name, x]) => unaryCase(op, name, 1025, x)),
    ...(op === 'gelu' ? [{ ...unaryCase(op, 'far left tail', 1025, between(-13, -9)), tolerance: 1e-5 }] : []),
    { ...unaryCase(op, '1e6', MILLION), bench: true },
  ].map((kase) => ({ tolerance: LIMITS[op] ?? 1e-5, ...kase })),
)

/** Cases of numbers that float16 can hold: normal ones, and for `gelu` its tails. */
export const unaryHalfCases: KernelCase<Unary>[] = [
  ...unaryOps.flatMap((op) => countsOf(op).map((count) => unaryCase(op, `${count}`, count))),
  unaryCase('gelu', '-6 to 6', 1025, between(-6, 6)),
  { ...unaryCase('gelu', '1e6', MILLION), bench: true },
]

const SAVED: Partial<Record<UnaryOp, Fill>> = {
  exp: between(0, 20),
  log: between(0.1, 3),
  sqrt: between(0.1, 3),
  tanh: between(-1, 1),
  relu: (_, random) => Math.max(0, random() - 0.5),
  sigmoid: between(0, 1),
}

type BackwardOp = UnaryBackward['op']
const backwardOps = unaryOps.filter((op): op is BackwardOp => op !== 'neg')

function unaryBackwardCase(op: BackwardOp, name: string, count: number, saved: Fill = SAVED[op] ?? 'normal') {
  const sizes = { grad: count, saved: count, out: count }
  return { name: `${op}, ${name}`, problem: { op, count }, sizes, fills: { saved } }
}

export const unaryBackwardHalfCases: KernelCase<UnaryBackward>[] = backwardOps.flatMap((op) =>
  countsOf(op).map((count) => unaryBackwardCase(op, `${count}`, count)),
)

export const unaryBackwardCases: KernelCase<UnaryBackward>[] = [
  ...unaryBackwardHalfCases,
  ...Object.entries(RANGES.gelu).map(([name, saved]) => unaryBackwardCase('gelu', name, 1025, saved)),
  ...backwardOps.map((op) => ({ ...unaryBackwardCase(op, '1e6', MILLION), bench: true })),
].map((kase) => ({ ...kase, tolerance: 2e-6 }))

// The cases of operations of one operand and a number follow.

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
  // The divisor would be 0 in float16.
  scalarCase('div', 33, 1e-8, () => 6e-6),
]

export const scalarIntCases: KernelCase<WithScalar>[] = scalarOps.flatMap((op) => [
  scalarCase(op, 1025, -7, op === 'divInto' ? divisors : small),
  scalarCase(op, 36, 2_000_000_011, op === 'divInto' ? divisors : integers),
])

// The cases of casts follow.

const castCase = (count: number, x: Fill): KernelCase<{ count: number }> => ({
  name: `${count}`,
  problem: { count },
  sizes: { x: count, y: count },
  fills: { x },
  tolerance: 0,
})

export const castToIntCases = SIZES.map((count) => castCase(count, between(-1e6, 1e6)))
export const castToFloatCases = SIZES.map((count) => castCase(count, (_, random) => Math.floor((random() - 0.5) * 2 ** 24)))

// The cases of strided kernels follow.

const binaryOps = Object.keys(BINARY) as BinaryOp[]

function binaryCase(op: BinaryOp, { name, a, b }: Pair, fills: Record<string, Fill>): KernelCase<Binary> {
  return nestCase(`${op}, ${name}`, AB, binaryProblem(op, a, b), { fills })
}

export const binaryCases: KernelCase<Binary>[] = [
  ...PAIRS.flatMap((operands) => (['sub', 'div'] as const).map((op) => binaryCase(op, operands, { b: awayFromZero }))),
  ...binaryOps.map((op) => binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { a: large, b: awayFromZero })),
  binaryCase('sub', pair([SHARES], [SHARES], [SHARES]), {}),
  { ...binaryCase('add', pair([MILLION], [MILLION], [MILLION]), {}), bench: true },
  { ...binaryCase('add', pair([5208, 192], [5208, 192], [192]), {}), bench: true },
  { ...binaryCase('add', pair([5405, 185], [5405, 185], [185]), {}), bench: true },
]

export const binaryHalfCases: KernelCase<Binary>[] = [
  ...PAIRS.flatMap((operands) => (['sub', 'div'] as const).map((op) => binaryCase(op, operands, { b: awayFromZero }))),
  ...binaryOps.map((op) => binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { b: awayFromZero })),
]

export const binaryIntCases: KernelCase<Binary>[] = [
  ...PAIRS.map((operands) => binaryCase('div', operands, { a: integers, b: divisors })),
  ...binaryOps.map((op) =>
    binaryCase(op, pair([3, 1025], [3, 1025], [1025]), { a: integers, b: op === 'div' ? divisors : integers }),
  ),
]

const flat = (size: number): Layout => ({ shape: [size], strides: [1], offset: 0 })
const exponents: Fill = (_, random) => Math.floor(random() * 9) - 3
const mixed: Fill = (index, random) =>
  [0, 0.5, 1, 1.5, 2, 3, -0.5, -1, -2.25][index % 9]! + (index % 2) * Math.floor(random() * 2)
const positive = between(0.2, 4)

export const powCases: KernelCase<Pow>[] = [
  ...PAIRS.map(({ name, a, b }) => nestCase(name, AB, powProblem('f32', a, b), { fills: { a: awayFromZero, b: exponents } })),
  ...Object.entries({
    'positive bases, any exponent': { a: positive, b: mixed },
    squares: { a: 'normal', b: () => 2 },
    'bases of 0, exponents from 0 on': { a: () => 0, b: (index: number) => [0, 1, 2, 0.5, 3, 100][index % 6]! },
    'exponents of 0': { a: large, b: () => 0 },
    'large even and odd exponents of negative bases': { a: between(-1.1, -0.9), b: (index: number) => 65 + (index % 9) },
    'roots of large numbers': { a: between(1e10, 1e30), b: () => 0.5 },
  } satisfies Record<string, Record<string, Fill>>).map(([name, fills]) =>
    nestCase(name, AB, powProblem('f32', flat(1025), flat(1025)), { fills }),
  ),
]

export const powBackwardCases: KernelCase<PowBackward>[] = [false, true].flatMap((exponent) => {
  const what = exponent ? 'by the exponent' : 'by the base'
  const make = ({ name, a, b }: Pair, fills: Record<string, Fill>) => {
    const problem = powBackwardProblem({ dtype: 'f32', exponent }, broadcast(a.shape, a.shape), a, b)
    return nestCase(`${what}, ${name}`, GRAD_AB, problem, { fills })
  }
  return [
    ...PAIRS.slice(-12).map((operands) => make(operands, { a: positive, b: mixed })),
    make({ ...pair([5, 9], [9], [5, 1]), name: 'a broadcast gradient' }, { a: positive, b: mixed }),
    make({ name: 'negative bases', a: flat(1025), b: flat(1025) }, { a: awayFromZero, b: exponents }),
    make({ name: 'bases of 0', a: flat(36), b: flat(36) }, { a: () => 0, b: (index) => [0, 1, 2, 3][index % 4]! }),
  ]
})

const sometimes: Fill = (_, random) => Math.floor(random() * 3) - 1
const words: Fill = (_, random) => Math.floor(random() * 2 ** 32)

const whereFills = { fills: { condition: sometimes, a: words, b: words } }

const inFloat = { condition: 'f32', dtype: 'f32' } as const

export const whereCases: KernelCase<Where>[] = [
  ...PAIRS.flatMap(({ name, a, b }) => [
    nestCase(`${name}, whole condition`, CONDITION_AB, whereProblem(inFloat, broadcast(a.shape, a.shape), a, b), whereFills),
    nestCase(
      `${name}, one of them the condition`,
      CONDITION_AB,
      whereProblem(inFloat, a, b, broadcast([], a.shape)),
      whereFills,
    ),
  ]),
  ...(['f32', 'i32', 'f16'] as const).flatMap((condition) =>
    (['i32', 'f16'] as const).map((dtype): KernelCase<Where> => {
      const [shape, list] = [flat(37), flat(37)]
      const fills = { ...whereFills.fills, ...(dtype === 'f16' && { a: 'normal', b: 'normal' }) } as Record<string, Fill>
      return nestCase(`${condition} for ${dtype}`, CONDITION_AB, whereProblem({ condition, dtype }, shape, list, list), {
        fills,
      })
    }),
  ),
  {
    ...nestCase('1e6', CONDITION_AB, whereProblem(inFloat, flat(MILLION), flat(MILLION), flat(MILLION)), whereFills),
    bench: true,
  },
]

export const accumulateCases: KernelCase<NestProblem>[] = PAIRS.flatMap(({ name, a, b }) =>
  [a, b].map((x, k) => nestCase(`${name}, operand ${k}`, ['x'], accumulateProblem(x), { fills: { out: 'normal' } })),
)

export const addFourCases: KernelCase<AddFour>[] = [...SIZES, SHARES, MILLION].flatMap((count) =>
  ([3, 4] as const).map((terms) => ({
    name: `${terms} of ${count}`,
    problem: { count, terms },
    sizes: { a: count, b: count, c: count, d: count, out: count },
    ...(count === MILLION && { bench: true }),
  })),
)

// The cases of chains follow.

const step = (op: ChainStep['op'], a: ChainStep['a'], b: ChainStep['b'], out: number, number = 0): ChainStep => ({
  op,
  a,
  b,
  out,
  number,
})

/** Sums of the tensor before and of tensor 1, each in a tensor of its own. */
const distinctSums = [2, 3, 4, 5, 6, 7].map((out) => step('add', out === 2 ? 0 : out - 1, 1, out))
/** As many steps as a chain takes, whose results are in three tensors by turns. */
const longest = Array.from({ length: CHAIN_STEPS }, (_, k) =>
  step((['mul', 'add', 'sub'] as const)[k % 3]!, k === 0 ? 0 : 2 + ((k - 1) % 3), k % 2 ? 'number' : 1, 2 + (k % 3), 0.7),
)
/** Every operation, with the number on either side, on values that products and sums would contract to others. */
const everyOperation = [
  step('mul', 0, 1, 2),
  step('add', 2, 3, 2),
  step('relu', 2, 2, 4),
  step('add', 4, 'number', 4, 0.1),
  step('sqrt', 4, 4, 5),
  step('div', 'number', 5, 6, 3),
  step('neg', 6, 6, 5),
  step('sub', 'number', 5, 7, 1e-3),
  step('div', 7, 5, 4),
  step('mul', 4, 4, 4),
  step('add', 0, 4, 0),
]

function chainCase(name: string, count: number, steps: readonly ChainStep[]): KernelCase<Chain> {
  const problem = chainProblem(count, steps)
  const slots = Array.from({ length: CHAIN_SLOTS }, (_, slot) => slot)
  return {
    name: `${name}, ${count}`,
    problem,
    sizes: Object.fromEntries(slots.map((slot) => [`t${slot}`, ((problem.loads | problem.stores) >> slot) & 1 ? count : 4])),
    fills: Object.fromEntries(slots.filter((slot) => (problem.loads >> slot) & 1).map((slot) => [`t${slot}`, 'normal'])),
    tolerance: 1e-6,
  }
}

export const chainCases: KernelCase<Chain>[] = [
  ...SIZES.map((count) => chainCase('every operation', count, everyOperation)),
  chainCase('results apart', 1025, distinctSums),
  chainCase('one step', 36, distinctSums.slice(0, 1)),
  chainCase('as long as can be', 1024, longest),
  { ...chainCase('results apart', 1024, distinctSums), bench: true },
]
