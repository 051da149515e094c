// Elementwise kernels and products for special values, in every lane of a vec4 and at the ends of tiles.
import {
  accumulateProblem,
  BINARY,
  type BinaryOp,
  binaryProblem,
  powBackwardProblem,
  powProblem,
  SAVES_INPUT,
  SCALAR,
  type ScalarOp,
  UNARY,
  type UnaryOp,
  whereProblem,
} from '../../kernels/elementwise/index.ts'
import { unaryFunctions } from '../../kernels/elementwise/reference.ts'
import { EPILOGUE, type Matmul, rowsPerGroup } from '../../kernels/matmul/index.ts'
import { dropoutProblem, streamOf } from '../../kernels/random/index.ts'
import { kernelDevice } from '../harness/device.ts'
import { ELEMENTS, HIGHEST, INFINITY, NAN, type SpecialCase, testSpecial } from '../harness/specialValues.ts'
import { suite } from '../harness/suite.ts'

const on = await kernelDevice()
const { test, run } = suite(`special values by element on ${on.summary.name}`)
const check = (special: SpecialCase) => testSpecial(on, test, special)

// Functions of one operand: the list repeats 4 times, and its length is one less than a multiple of 4.

const count = 4 * ELEMENTS.length - 1
const x = Array.from({ length: count }, (_, i) => ELEMENTS[(i + Math.floor(i / ELEMENTS.length)) % ELEMENTS.length]!)
for (const op of Object.keys(UNARY) as UnaryOp[]) {
  // A 0 from a sum of rounded numbers, or from underflow, may have either sign.
  const signs = !['exp', 'gelu', 'sigmoid'].includes(op)
  check({ kernel: 'unary', name: op, problem: { op, count }, inputs: { x }, outputs: { y: count }, signs })
  check({ kernel: 'unaryHalf', name: op, problem: { op, count }, inputs: { x }, outputs: { y: count }, tolerance: 1e-4 })
  if (op === 'neg') continue
  const saved = SAVES_INPUT.has(op) ? x : x.map(unaryFunctions[op].f)
  for (const g of [1, -3, INFINITY, NAN]) {
    const grad = saved.map(() => g)
    check({
      kernel: 'unaryBackward',
      name: `${op} of ${g}`,
      problem: { op, count },
      inputs: { grad, saved },
      outputs: { out: count },
    })
  }
}

// Functions of two operands: every pair of the list.

const n = ELEMENTS.length
const ofPairs = (...strides: number[]) => ({ shape: [n, n], strides, offset: 0 })
const rows = ofPairs(1, 0)
const columns = ofPairs(0, 1)
const pairs = ofPairs(n, 1)
const first = ELEMENTS.flatMap((a) => ELEMENTS.map(() => a))
const second = ELEMENTS.flatMap(() => ELEMENTS)
for (const op of Object.keys(BINARY) as BinaryOp[]) {
  const flat = binaryProblem(op, pairs, pairs)
  const outputs = { out: n * n }
  check({ kernel: 'binary', name: `${op} of pairs`, problem: flat, inputs: { a: first, b: second }, outputs, signs: true })
  const broadcast = binaryProblem(op, rows, columns)
  check({
    kernel: 'binary',
    name: `${op} broadcast`,
    problem: broadcast,
    inputs: { a: ELEMENTS, b: ELEMENTS },
    outputs,
    signs: true,
  })
}
for (const op of Object.keys(SCALAR) as ScalarOp[]) {
  for (const scalar of [NAN, INFINITY, -INFINITY, -0, -HIGHEST]) {
    const problem = { op, count, scalar }
    check({ kernel: 'scalar', name: `${op} ${scalar}`, problem, inputs: { x }, outputs: { out: count }, signs: true })
  }
}
for (const [name, problem, values] of [
  ['pairs', accumulateProblem(pairs), first],
  ['broadcast', accumulateProblem(columns), ELEMENTS],
] as const) {
  check({ kernel: 'accumulate', name, problem, inputs: { x: values, out: second }, outputs: {} })
}

check({
  kernel: 'pow',
  name: 'of pairs',
  problem: powProblem('f32', rows, columns),
  inputs: { a: ELEMENTS, b: ELEMENTS },
  outputs: { out: n * n },
  signs: true,
})
for (const exponent of [false, true]) {
  check({
    kernel: 'powBackward',
    name: `by the ${exponent ? 'exponent' : 'base'}`,
    problem: powBackwardProblem({ dtype: 'f32', exponent }, ofPairs(0, 0), rows, columns),
    inputs: { grad: [1], a: ELEMENTS, b: ELEMENTS },
    outputs: { out: n * n },
    // A subnormal power may be flushed to 0.
    tolerance: 1e-36,
  })
}

const list = { shape: [n], strides: [1], offset: 0 }
const whereShape = (condition: 'f32' | 'i32') => whereProblem({ condition, dtype: 'f32' }, list, list, list)
const words = { a: ELEMENTS.map((_, i) => 0x7fc00000 + i), b: ELEMENTS.map((_, i) => 1 + i) }
check({
  kernel: 'where',
  name: 'conditions',
  problem: whereShape('f32'),
  inputs: { condition: ELEMENTS, ...words },
  outputs: { out: n },
})
check({
  kernel: 'where',
  name: 'int32 conditions',
  problem: whereShape('i32'),
  inputs: { condition: ELEMENTS.map((_, i) => [0, -(2 ** 31), 1][i % 3]!), ...words },
  outputs: { out: n },
})
const whole = x.map((value) => (Math.abs(value) < 2 ** 31 || Number.isNaN(value) ? value : Math.sign(value) * 2147483520))
check({ kernel: 'castToInt', name: 'within', problem: { count }, inputs: { x: whole }, outputs: { y: count } })

// Dropout: a dropped element that is NaN or infinite gives NaN.
for (const p of [0.5, 1]) {
  const values = x.map((value) => (Math.abs(value) === HIGHEST ? value / 4 : value))
  const problem = dropoutProblem(count, p, streamOf(7, 11))
  check({ kernel: 'dropout', name: `p ${p}`, problem, inputs: { x: values }, outputs: { y: count }, signs: true })
}

check({
  kernel: 'gather',
  name: 'indices outside',
  problem: { count: 7, rows: 3, width: 4 },
  inputs: { weight: ELEMENTS.slice(0, 12), indices: [0, -1, 2, 3, -(2 ** 31), 2 ** 31 - 1, 1] },
  outputs: { output: 28 },
  signs: true,
})

// Products: an infinity or a NaN affects only its own row or column, for every k.

const [m, width, k] = [35, 38, 70]
const ordinary = (i: number) => ((i * 7919) % 23) / 8 - 1.3

function product(
  name: string,
  transA: boolean,
  transB: boolean,
  change: Partial<Matmul>,
  more: Record<string, number[]> = {},
): void {
  const a = Array.from({ length: m * k }, (_, i) => ordinary(i))
  const b = Array.from({ length: k * width }, (_, i) => ordinary(i + 5))
  const [aRow, aCol] = transA ? [1, m] : [k, 1]
  const [bRow, bCol] = transB ? [1, k] : [width, 1]
  for (const [i, [row, at, value]] of (
    [
      [0, 0, NAN],
      [1, k - 1, INFINITY],
      [17, 63, -INFINITY],
      [m - 1, k - 1, NAN],
    ] as const
  ).entries()) {
    a[row * aRow + at * aCol] = value
    b[at * bRow + (width - 1 - 9 * i) * bCol] = value
  }
  const none: Matmul['a'] = [0, 0, 0, 0]
  const shape = { m, n: width, k, batches: 1, batch1: 1, batch2: 1, aRow, aCol, bRow, bCol, auxRow: width }
  const problem: Matmul = {
    ...{ a: none, b: none, aux: none, ...shape },
    ...{ rows: rowsPerGroup({ ...shape, splits: 1 }), splits: 1, chunk: k, flags: 0, ...change },
  }
  const inputs = { a, b, bias: more.bias ?? [0], aux: more.aux ?? [0] }
  const pre = (problem.flags & EPILOGUE.pre) !== 0 ? m * width : 1
  const outputs = { c: m * width, pre }
  check({ slow: true, kernel: 'matmul', name, problem, inputs, outputs, free: pre === 1 ? ['pre'] : [], tolerance: 1e-4 })
}

product('of rows and columns', false, false, {})
product('of transposed operands', true, true, {})
const bias = Array.from({ length: width }, (_, i) => [NAN, INFINITY, -INFINITY, -HIGHEST][i - 4] ?? 0.5)
product('with bias and GELU', false, true, { flags: EPILOGUE.bias | EPILOGUE.gelu | EPILOGUE.pre }, { bias })
const aux = Array.from({ length: m * width }, (_, i) => (i % 5 === 0 ? ELEMENTS[(i / 5) % n]! : 0.25))
product('with the derivative of GELU', false, false, { flags: EPILOGUE.geluGrad }, { aux })
const drops = { ...streamOf(3, 5), threshold: 2 ** 31, keep: 2 }
product('with dropout', false, true, { flags: EPILOGUE.bias | EPILOGUE.dropout | EPILOGUE.add, ...drops }, { bias, aux })
const parts = Array.from({ length: 2 * m * width }, (_, i) => (i % 3 === 0 ? ELEMENTS[(i / 3) % n]! : 0.25))
check({
  kernel: 'matmulCombine',
  name: 'with GELU',
  problem: {
    ...{
      a: [0, 0, 0, 0],
      b: [0, 0, 0, 0],
      aux: [0, 0, 0, 0],
      m,
      n: width,
      k: 128,
      batches: 1,
      batch1: 1,
      batch2: 1,
    },
    ...{
      aRow: 128,
      aCol: 1,
      bRow: width,
      bCol: 1,
      auxRow: width,
      rows: m,
      splits: 2,
      chunk: 64,
      flags: EPILOGUE.gelu,
    },
  },
  inputs: { partials: parts, bias: [0], aux: [0] },
  outputs: { c: m * width, pre: 1 },
  free: ['pre'],
})

test('ends', () => on.device.destroy())
run()
