// Compares ops on NaN, infinities and the ends of float32 with PyTorch 1.13's results for the same calls, forward and backward.
import { backward } from '../../engine/autograd/backward.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import {
  add,
  argmax,
  cast,
  conv2d,
  crossEntropy,
  cumsum,
  div,
  dropout,
  embedding,
  exp,
  gelu,
  layerNorm,
  log,
  logSoftmax,
  max,
  mean,
  mlp,
  ones,
  pow,
  relu,
  rmsNorm,
  scaledDotProductAttention,
  sigmoid,
  softmax,
  sqrt,
  sum,
  type Tensor,
  tanh,
  tensor,
  where,
  zeros,
} from '../../engine/index.ts'
import { HIGHEST, INFINITY, NAN } from '../harness/specialValues.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('special values of ops')

/** Compares each element: finite numbers to 1e-5, all others exactly. */
async function equals(t: Tensor, expected: readonly number[], what: string): Promise<void> {
  const actual = await t.data()
  if (actual.length !== expected.length) throw new Error(`${what}: got ${actual.length} elements, expected ${expected.length}`)
  for (const [i, e] of expected.entries()) {
    const a = actual[i]!
    const alike = Number.isFinite(e) ? Math.abs(a - e) <= 1e-5 * (1 + Math.abs(e)) : Object.is(a, e)
    if (!alike) throw new Error(`${what}: [${i}] is ${a}, expected ${e}`)
  }
}

interface Row {
  x: readonly number[]
  y: readonly number[]
  /** Gradient of x for the cotangent 1, 2, 3, …; not checked where it is missing. */
  dx?: readonly number[]
}

function check(name: string, op: (x: Tensor) => Tensor, rows: readonly Row[]): void {
  for (const { x, y, dx } of rows) {
    test(`${name} of ${x}`, async () => {
      const input = tensor(Float32Array.from(x), { requiresGrad: dx !== undefined })
      const output = op(input)
      await equals(output, y, 'output')
      if (!dx) return
      backward(
        output,
        tensor(
          Float32Array.from(y, (_, i) => i + 1),
          { shape: output.shape },
        ),
      )
      await equals(input.grad!, dx, 'gradient')
    })
  }
}

const all = (value: number) => [value, value, value, value]
const LOWEST = all(-HIGHEST)
const MIXED = [1, -INFINITY, 2, 3]
/** Rows whose softmax is all NaN. */
const SPOILT = [[1, 5, NAN, 2], [NAN, NAN, 1, 2], [1, INFINITY, 2, 3], [INFINITY, -INFINITY, 0, 0], all(-INFINITY)]
const spoilt = SPOILT.map((x): Row => ({ x, y: all(NAN), dx: all(NAN) }))
const third = -Math.log(4)
check('softmax', (x) => softmax(x, 0), [
  ...spoilt,
  { x: LOWEST, y: all(0.25), dx: [-0.375, -0.125, 0.125, 0.375] },
  { x: all(HIGHEST), y: all(0.25), dx: [-0.375, -0.125, 0.125, 0.375] },
  { x: MIXED, y: [0.0900306, 0, 0.2447285, 0.665241], dx: [-0.2237422, 0, -0.1187373, 0.3424794] },
])
check('logSoftmax', (x) => logSoftmax(x, 0), [
  ...spoilt,
  { x: LOWEST, y: all(third), dx: [-1.5, -0.5, 0.5, 1.5] },
  { x: MIXED, y: [-2.4076059, -INFINITY, -1.4076059, -0.4076059], dx: [0.0996942, 2, 0.5527151, -2.65241] },
])
const labelled = (label: number) => (x: Tensor) =>
  crossEntropy(x.reshape([1, 4]), tensor(Int32Array.of(label)), { reduction: 'none' })
check('crossEntropy', labelled(0), [
  ...spoilt.map(({ x, dx }): Row => ({ x, y: [NAN], dx: dx! })),
  { x: LOWEST, y: [-third], dx: [-0.75, 0.25, 0.25, 0.25] },
  { x: MIXED, y: [2.4076059], dx: [-0.9099694, 0, 0.2447285, 0.665241] },
])
check('crossEntropy with a label of -Infinity', labelled(1), [
  { x: MIXED, y: [INFINITY], dx: [0.0900306, -1, 0.2447285, 0.665241] },
])
for (const label of [-1, 4])
  check(`crossEntropy with label ${label}`, labelled(label), [{ x: [1, 2, 3, 4], y: [NAN], dx: all(NAN) }])

check('max', (x) => max(x, 0), [
  { x: [1, 5, NAN, 2], y: [NAN], dx: [0, 0, 1, 0] },
  { x: [NAN, NAN, INFINITY, 2], y: [NAN], dx: [1, 0, 0, 0] },
  { x: all(-INFINITY), y: [-INFINITY], dx: [1, 0, 0, 0] },
  { x: LOWEST, y: [-HIGHEST], dx: [1, 0, 0, 0] },
  { x: [-INFINITY, INFINITY, 1, INFINITY], y: [INFINITY], dx: [0, 1, 0, 0] },
])
check('argmax', (x) => cast(argmax(x, 0), 'float32'), [
  { x: [1, 5, NAN, NAN], y: [2] },
  { x: [-0, 0, -1, 0], y: [0] },
  { x: all(-INFINITY), y: [0] },
])
const SUMS: readonly [x: readonly number[], sum: number][] = [
  [[1, NAN, 2, 3], NAN],
  [[1, INFINITY, 2, 3], INFINITY],
  [MIXED, -INFINITY],
  [[INFINITY, 1, -INFINITY, 2], NAN],
  [[HIGHEST, HIGHEST, 1, 1], INFINITY],
]
check(
  'sum',
  (x) => sum(x),
  SUMS.map(([x, y]) => ({ x, y: [y], dx: all(1) })),
)
check(
  'mean',
  (x) => mean(x),
  SUMS.map(([x, y]) => ({ x, y: [y] })),
)
check('cumsum', (x) => cumsum(x, 0), [
  { x: [1, INFINITY, 2, -INFINITY], y: [1, INFINITY, INFINITY, NAN], dx: [10, 9, 7, 4] },
  { x: [1, NAN, 2, 3], y: [1, NAN, NAN, NAN] },
])

const S = [NAN, INFINITY, -INFINITY, 0, HIGHEST, -HIGHEST, -1]
/** Gradients for the cotangent 1, 2, 3, …, from the derivatives. */
const times = (slopes: readonly number[]) => slopes.map((slope, i) => slope * (i + 1))
const e1 = Math.exp(-1)
const t1 = Math.tanh(-1)
const s1 = 1 / (1 + Math.E)
check('relu', relu, [{ x: S, y: [NAN, INFINITY, 0, 0, HIGHEST, 0, 0], dx: times([1, 1, 0, 0, 1, 0, 0]) }])
check('gelu', gelu, [
  { x: S, y: [NAN, INFINITY, NAN, 0, HIGHEST, 0, -0.1586553], dx: times([NAN, NAN, NAN, 0.5, 1, 0, -0.0833155]) },
])
check('tanh', tanh, [{ x: S, y: [NAN, 1, -1, 0, 1, -1, t1], dx: times([NAN, 0, 0, 1, 0, 0, 1 - t1 * t1]) }])
check('sigmoid', sigmoid, [{ x: S, y: [NAN, 1, 0, 0.5, 1, 0, s1], dx: times([NAN, 0, 0, 0.25, 0, 0, s1 * (1 - s1)]) }])
check('exp', exp, [{ x: S, y: [NAN, INFINITY, 0, 1, INFINITY, 0, e1], dx: times([NAN, INFINITY, 0, 1, INFINITY, 0, e1]) }])
check('log', log, [
  { x: S, y: [NAN, INFINITY, NAN, -INFINITY, 88.7228391, NAN, NAN], dx: times([NAN, 0, 0, INFINITY, 0, 0, -1]) },
])
check('sqrt', sqrt, [
  { x: S, y: [NAN, INFINITY, NAN, 0, 1.8446743e19, NAN, NAN], dx: times([NAN, 0, NAN, INFINITY, 0, NAN, NAN]) },
])

test('pow by the rules of IEEE 754', async () => {
  const table: readonly [base: number, exponent: number, power: number][] = [
    [1, NAN, 1],
    [NAN, 0, 1],
    [NAN, 1, NAN],
    [2, NAN, NAN],
    [1, INFINITY, 1],
    [-1, -INFINITY, 1],
    [0.5, INFINITY, 0],
    [-2, INFINITY, INFINITY],
    [0.5, -INFINITY, INFINITY],
    [0, -1, INFINITY],
    [-0, -65, -INFINITY],
    [-0, -0.5, INFINITY],
    [-INFINITY, 3, -INFINITY],
    [-INFINITY, 0.5, INFINITY],
    [-INFINITY, -65, -0],
    [-2, 3, -8],
    [-2, -2, 0.25],
    [-2, 0.5, NAN],
    [-2, 66, 2 ** 66],
    [HIGHEST, 2, INFINITY],
  ]
  const [a, b, y] = [0, 1, 2].map((column) => table.map((row) => row[column]!)) as [number[], number[], number[]]
  await equals(pow(tensor(a), tensor(b)), y, 'pow')
  await equals(pow(1, tensor([NAN, INFINITY])), [1, 1], 'a base of 1')
  await equals(pow(tensor([NAN, INFINITY]), 0), [1, 1], 'an exponent of 0')
})

check('division by 0', (x) => div(x, 0), [{ x: [1, -1, 0, NAN], y: [INFINITY, -INFINITY, NAN, NAN] }])
check('where', (x) => where(x, 1, 2), [{ x: [NAN, INFINITY, 0, -0, 1], y: [1, 1, 2, 2, 1] }])
check('cast to int32', (x) => cast(cast(x, 'int32'), 'float32'), [
  { x: [NAN, -3.7, 0.9, -1e30], y: [-(2 ** 31), -3, 0, -(2 ** 31)] },
])
if (device.capabilities.f16) {
  const y = [NAN, INFINITY, -INFINITY, 65504, INFINITY, -INFINITY]
  check('cast to float16', (x) => cast(cast(x, 'float16'), 'float32'), [
    { x: [NAN, INFINITY, -INFINITY, 65519, 65520, -1e10], y },
  ])
}
check('dropout', (x) => dropout(x, 1), [{ x: [NAN, INFINITY, -INFINITY, 2], y: [NAN, NAN, NAN, 0], dx: all(0) }])

const normalized = (x: Tensor) => layerNorm(x, ones([4]), tensor([1, 2, 3, 4]))
const root = Math.SQRT2
check('layerNorm', normalized, [
  { x: [1, INFINITY, 2, 3], y: all(NAN), dx: all(NAN) },
  { x: [NAN, 1, 2, 3], y: all(NAN), dx: all(NAN) },
  { x: [1e30, -1e30, 2e30, 0], y: all(NAN), dx: all(NAN) },
  { x: [5, 5, 5, 5], y: [1, 2, 3, 4] },
  { x: [1e18, -1e18, 0, 0], y: [1 + root, 2 - root, 3, 4], dx: all(0) },
])

// Where squares overflow, the formula in float32 would give 0 for finite elements. These rows are from derivation, since PyTorch 1.13 has no RMSNorm.
check('rmsNorm', (x) => rmsNorm(x, tensor([1, 2, 3, 4])), [
  { x: [1, INFINITY, 2, 3], y: all(NAN), dx: all(NAN) },
  { x: [NAN, 1, 2, 3], y: all(NAN), dx: all(NAN) },
  { x: [1e20, 1, 2, 3], y: all(NAN), dx: all(NAN) },
  { x: all(0), y: all(0), dx: [1e3, 4e3, 9e3, 16e3] },
  { x: [1e18, -1e18, 0, 0], y: [root, -2 * root, 0, 0], dx: all(0) },
])

test('attention: keys of -Infinity have no weight, NaN reaches its own sequence only', async () => {
  const keys = tensor([-INFINITY, 1, 1, NAN, 1, 1, -INFINITY, -INFINITY, -INFINITY], {
    shape: [3, 1, 3, 1],
    requiresGrad: true,
  })
  const values = tensor([7, 2, 4, 7, 2, 4, 7, 2, 4], { shape: [3, 1, 3, 1], requiresGrad: true })
  const out = scaledDotProductAttention(ones([3, 1, 1, 1]), keys, values)
  await equals(out, [3, NAN, NAN], 'output')
  backward(out, ones(out.shape))
  await equals(values.grad!, [0, 0.5, 0.5, ...new Array<number>(6).fill(NAN)], 'gradient of the values')
  await equals(keys.grad!, [0, -0.5, 0.5, ...new Array<number>(6).fill(NAN)], 'gradient of the keys')
})

test('conv2d: NaN and infinities reach the outputs whose windows hold them, and no other', async () => {
  for (const spoilt of [NAN, INFINITY, -INFINITY]) {
    const x = tensor([1, 2, 3, 4, spoilt, 6, 7, 8, 9], { shape: [1, 1, 1, 9] })
    const y = conv2d(x, tensor([1, 1], { shape: [1, 1, 1, 2] }))
    await equals(y, [3, 5, 7, spoilt, spoilt, 13, 15, 17], `output of ${spoilt}`)
    const weight = tensor([1, spoilt], { shape: [2, 1, 1, 1] })
    await equals(conv2d(tensor([1, 2], { shape: [1, 1, 1, 2] }), weight), [1, 2, spoilt, spoilt], `weight ${spoilt}`)
  }
})

test('mlp: NaN reaches its own row only', async () => {
  const [w, b] = [ones([2, 2]), zeros([2])]
  const out = mlp(tensor([NAN, 1, 1, 1, INFINITY, 1], { shape: [3, 2] }), w, b, w, b)
  const y = 4 * 0.9772499
  await equals(out, [NAN, NAN, y, y, INFINITY, INFINITY], 'output')
})

test('embedding: an index outside is a row of NaN', async () => {
  const rows = embedding(tensor([1, 2, 3, 4], { shape: [2, 2] }), tensor(Int32Array.of(1, 2, -1)))
  await equals(rows, [3, 4, ...all(NAN)], 'rows')
})

test('gradients that add up keep NaN', async () => {
  const x = tensor([1, 2], { requiresGrad: true })
  backward(add(x, 1), tensor([NAN, INFINITY]))
  backward(add(x, 1), tensor([1, -INFINITY]))
  await equals(x.grad!, [NAN, NAN], 'gradient')
})

run()
