// Sums of many terms of one sign, whose rounding error must hardly grow with the number of terms, in every kernel that adds.
import {
  arange,
  crossEntropy,
  cumsum,
  embedding,
  full,
  layerNorm,
  logSoftmax,
  logsumexp,
  matmul,
  mean,
  norm,
  requestDevice,
  rmsNorm,
  scatterAdd,
  scope,
  softmax,
  sum,
  type Tensor,
  tensor,
  variance,
  where,
} from '../../engine/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('long sums')
const pipelines = globalThis.process?.env.PARAFORMER_PIPELINES
/** Whether the default device is another one. */
const few = pipelines === 'few'
/** The number of terms of the longest sums, and of other long ones, which `npm test` keeps shorter. */
const [LONGEST, MANY] = [few ? 1_000_003 : 10_000_000, pipelines ? 1_000_003 : 10_000_000]
/** Largest relative error of a sum. */
const TOLERANCE = 1e-6

function assertNear(actual: number, expected: number, what: string, tolerance = TOLERANCE): void {
  const error = Math.abs(actual - expected) / Math.abs(expected)
  if (!(error <= tolerance)) throw new Error(`${what}: got ${actual}, expected ${expected}: ${error.toExponential(2)} off`)
}

function random(count: number, seed: number, transform: (x: number) => number = (x) => x): Float32Array {
  const next = testRandom(seed)
  return Float32Array.from({ length: count }, () => transform(next()))
}

/** The sum in float64. */
function total(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum
}

/** Constants are the worst case, since all their rounding errors have one sign. */
const CONSTANTS = pipelines ? [0.1] : [0.1, 1 / 3, 0.7]
const lognormal = (x: number) => Math.exp(2 * Math.sqrt(-2 * Math.log(1 - x)) * Math.cos(40 * x))

async function readOne(make: () => Tensor): Promise<number> {
  const [value] = await scope(make).data()
  return value!
}

for (const value of CONSTANTS) {
  const x = Math.fround(value)
  test(`sum and mean of ${LONGEST} times ${value}`, async () => {
    assertNear(await readOne(() => sum(full([LONGEST], value))), LONGEST * x, 'sum')
    assertNear(await readOne(() => mean(full([LONGEST], value))), x, 'mean')
  })
  test(`sums of ${value} over each place of the dim`, async () => {
    for (const [shape, dim] of [
      [[2, 1_000_003], 1],
      [[700_001, 3], 0],
      [[100_000, 64], 0],
      [[3, 100_003, 5], 1],
    ] as const) {
      const sums = await scope(() => sum(full(shape, value), dim)).data()
      for (const value of sums) assertNear(value, x * shape[dim]!, `sum of [${shape}] over ${dim}`)
    }
  })
  test(`norm, variance, logsumexp and sums by index of ${value}`, async () => {
    const n = 1_000_003
    const x32 = full([n], value)
    assertNear(await norm(x32).item(), Math.sqrt(n) * x, 'norm')
    assertNear(await logsumexp(x32).item(), x + Math.log(n), 'logsumexp')
    if ((await variance(x32).item()) !== 0) throw new Error('variance of equal numbers')
    const half = where(arange(n, { dtype: 'int32' }).remainder(2), x32, 0)
    assertNear(await variance(half).item(), (x * x * (n + 1)) / (4 * n), 'variance')
    const sums = scatterAdd(full([2], 0), 0, arange(n, { dtype: 'int32' }).remainder(2), x32)
    for (const sum of await sums.data()) assertNear(sum, (x * n) / 2, 'sum by index', 2e-6)
    for (const t of [x32, half, sums]) t.dispose()
  })
  const long = value === 0.1 ? LONGEST : 1_000_003
  test(`cumsum of ${long} times ${value}`, async () => {
    const y = await scope(() => cumsum(full([long], value), 0)).data()
    for (let i = 0; i < long; i++) {
      const expected = (i + 1) * x
      if (!(Math.abs(y[i]! - expected) <= TOLERANCE * expected)) assertNear(y[i]!, expected, `cumsum[${i}]`)
    }
  })
  test(`cumsum of ${value} along each dim, and backward`, async () => {
    for (const [shape, dim] of [
      [[3, 300_001], 1],
      [[100_003, 4], 0],
      [[2, 20_003, 3], 1],
      [[600, 2049], 1],
    ] as const) {
      const t = full(shape, value, { requiresGrad: true })
      const y = cumsum(t, dim)
      y.backward(full(shape, value))
      const [values, grads] = [await y.data(), await t.grad!.data()]
      const n = shape[dim]!
      const inner = dim === 0 ? shape[1]! : (shape[2] ?? 1)
      for (let i = 0; i < values.length; i++) {
        const j = Math.floor(i / inner) % n
        if (!(Math.abs(values[i]! / ((j + 1) * x) - 1) <= TOLERANCE)) assertNear(values[i]!, (j + 1) * x, `[${shape}][${i}]`)
        if (!(Math.abs(grads[i]! / ((n - j) * x) - 1) <= TOLERANCE)) assertNear(grads[i]!, (n - j) * x, `[${shape}] grad[${i}]`)
      }
      for (const used of [t, y]) used.dispose()
    }
  })
}
for (const [name, transform] of [
  ['uniform', undefined],
  ['lognormal', lognormal],
] as const) {
  test(`sum, mean and cumsum of ${MANY} ${name} numbers`, async () => {
    const values = random(MANY, 7, transform)
    const x = tensor(values)
    assertNear(await readOne(() => sum(x)), total(values), 'sum')
    assertNear(await readOne(() => mean(x)), total(values) / MANY, 'mean')
    const y = await scope(() => cumsum(x, 0)).data()
    let expected = 0
    for (let i = 0; i < MANY; i++) {
      expected += values[i]!
      if (!(Math.abs(y[i]! - expected) <= TOLERANCE * expected)) assertNear(y[i]!, expected, `cumsum[${i}]`)
    }
    x.dispose()
  })
}
/** Rows, of lengths that are multiples of 4 and that are not. */
const ROWS: readonly [rows: number, n: number][] = [
  pipelines ? [2, 40_000] : [2, 400_000],
  pipelines ? [3, 50_003] : [3, 100_003],
  [2, 5120],
]

/** The rows for a variant. With a thread for each row, the length decides between one chain, blocks and levels. */
function rowsFor(variant: string): typeof ROWS {
  return variant === 'direct' ? [...ROWS, [3, 197], [3, 1000]] : ROWS
}

const VARIANTS = ['direct', 'workgroup', 'subgroup']

/** Registers a test for each variant of some kernels that runs on this device. */
function onVariants(
  kernels: readonly string[],
  title: string,
  body: (variant: string) => Promise<void>,
  variants = VARIANTS,
): void {
  for (const variant of variants) {
    if (variant === 'subgroup' && device.capabilities.subgroupMaxSize === 0) continue
    test(`${title}, ${variant}`, async () => {
      for (const kernel of kernels) device.kernels.pinned.set(kernel, variant)
      try {
        await body(variant)
      } finally {
        for (const kernel of kernels) device.kernels.pinned.delete(kernel)
      }
    })
  }
}

onVariants(['softmax', 'softmaxBackward'], 'softmax of long rows, forward and backward', async (variant) => {
  for (const [rows, n] of rowsFor(variant)) {
    // One logit is above the others, which are equal, so its probability is 1 / sum.
    const values = Float32Array.from({ length: rows * n }, (_, i) => (i % n === 5 ? 0 : -3.3))
    const e = Math.exp(Math.fround(-3.3))
    const denominator = 1 + (n - 1) * e
    const x = tensor(values, { shape: [rows, n], requiresGrad: true })
    const y = softmax(x, 1)
    assertNear((await y.data())[5]!, 1 / denominator, `softmax [${rows}, ${n}]`)
    // dx = y (dy - sum(y dy)), where dy is 0 at one place and 0.1 elsewhere.
    const dy = Float32Array.from({ length: rows * n }, (_, i) => (i % n === 5 ? 0 : 0.1))
    y.backward(tensor(dy, { shape: [rows, n] }))
    const inner = ((n - 1) * e * Math.fround(0.1)) / denominator
    // The gradient has the errors of two sums, and each sum of a short row may be 8e-7 off.
    const tolerance = n < 10_000 ? 2 * TOLERANCE : TOLERANCE
    assertNear((await x.grad!.data())[5]!, -inner / denominator, `softmax gradient [${rows}, ${n}]`, tolerance)
    const z = logSoftmax(x, 1)
    assertNear((await z.data())[5]!, -Math.log(denominator), `logSoftmax [${rows}, ${n}]`)
    for (const t of [x, y, z]) t.dispose()
  }
})
test(`softmax of one row of ${MANY}`, async () => {
  const n = MANY
  const x = tensor(
    Float32Array.from({ length: n }, (_, i) => (i === 5 ? 0 : -3.3)),
    { shape: [1, n] },
  )
  assertNear((await scope(() => softmax(x, 1)).data())[5]!, 1 / (1 + (n - 1) * Math.exp(Math.fround(-3.3))), 'softmax')
  x.dispose()
})
onVariants(['crossEntropy'], 'cross-entropy of long rows', async (variant) => {
  for (const [rows, n] of rowsFor(variant)) {
    const values = Float32Array.from({ length: rows * n }, (_, i) => (i % n === 5 ? 0 : -3.3))
    const logits = tensor(values, { shape: [rows, n] })
    const labels = tensor(new Int32Array(rows).fill(5), { dtype: 'int32' })
    const expected = Math.log(1 + (n - 1) * Math.exp(Math.fround(-3.3)))
    assertNear(await readOne(() => crossEntropy(logits, labels)), expected, `cross-entropy [${rows}, ${n}]`)
    logits.dispose()
  }
})
onVariants(['layerNorm', 'layerNormBackward'], 'layerNorm of long rows', async (variant) => {
  for (const [rows, n] of rowsFor(variant)) {
    // The first element is 0, so that the sum of the others has no cancellation.
    const values = Float32Array.from({ length: rows * n }, (_, i) => (i % n === 0 ? 0 : i % n < n / 2 ? 0.1 : 0.7))
    const x = tensor(values, { shape: [rows, n], requiresGrad: true })
    const y = layerNorm(x, full([n], 1), full([n], 0), 0)
    const row = values.subarray(0, n)
    const average = total(row) / n
    const deviation = Math.sqrt(row.reduce((sum, v) => sum + (v - average) ** 2, 0) / n)
    const got = await y.data()
    for (const j of [0, 1, n - 1]) assertNear(got[j]!, (row[j]! - average) / deviation, `layerNorm [${rows}, ${n}] at ${j}`)
    for (const t of [x, y]) t.dispose()
  }
})
onVariants(['layerNormBackward'], 'layerNorm over many rows: the gradients of weight and bias', async () => {
  for (const [rows, n] of [
    [300_003, 1],
    [300_000, 4],
    [4100, 4],
  ] as const) {
    const values = Float32Array.from({ length: rows * n }, (_, i) => i % 4)
    const x = tensor(values, { shape: [rows, n] })
    const weight = full([n], 1, { requiresGrad: true })
    const bias = full([n], 0, { requiresGrad: true })
    const y = layerNorm(x, weight, bias)
    y.backward(full([rows, n], 0.1))
    for (const value of await bias.grad!.data()) assertNear(value, rows * Math.fround(0.1), `dbias [${rows}, ${n}]`)
    if (n === 4) {
      const dweight = await weight.grad!.data()
      for (let j = 0; j < 4; j++) {
        assertNear(dweight[j]!, (rows * Math.fround(0.1) * (j - 1.5)) / Math.sqrt(1.25 + 1e-5), `dweight[${j}] [${rows}, ${n}]`)
      }
    }
    for (const t of [x, weight, bias, y]) t.dispose()
  }
})
onVariants(
  ['rmsNorm', 'rmsNormBackward'],
  'rmsNorm of long rows, forward and backward',
  async (variant) => {
    // The threads of a workgroup have long chains only in the longest row.
    for (const [rows, n] of [...rowsFor(variant), [1, pipelines ? 500_003 : 2_000_003] as const]) {
      const values = Float32Array.from({ length: rows * n }, (_, i) => (i % n < n / 2 ? 0.1 : 0.7))
      const x = tensor(values, { shape: [rows, n], requiresGrad: true })
      const y = rmsNorm(x, full([n], 1), 0)
      const row = values.subarray(0, n)
      const square = total(row.map((v) => v * v)) / n
      const got = await y.data()
      for (const j of [0, 1, n - 1]) assertNear(got[j]!, row[j]! / Math.sqrt(square), `rmsNorm [${rows}, ${n}] at ${j}`)
      // Where dy is 0, dx is -x mean(dy x) / rms^3.
      const dy = Float32Array.from({ length: rows * n }, (_, i) => (i % n === 5 ? 0 : 0.1))
      y.backward(tensor(dy, { shape: [rows, n] }))
      const mean = (Math.fround(0.1) * (total(row) - row[5]!)) / n
      const dx = (-row[5]! * mean) / square ** 1.5
      // The gradient has the errors of two sums, and each sum of a short row may be 8e-7 off.
      const tolerance = n < 10_000 ? 2 * TOLERANCE : TOLERANCE
      assertNear((await x.grad!.data())[5]!, dx, `rmsNorm gradient [${rows}, ${n}]`, tolerance)
      for (const t of [x, y]) t.dispose()
    }
  },
  ['direct', 'workgroup'],
)
test('rmsNorm over many rows: the gradient of the weight', async () => {
  for (const [rows, n] of [
    [300_003, 1],
    [300_000, 4],
    [4100, 4],
  ] as const) {
    const values = Float32Array.from({ length: rows * n }, (_, i) => 1 + (i % n))
    const x = tensor(values, { shape: [rows, n] })
    const weight = full([n], 1, { requiresGrad: true })
    const y = rmsNorm(x, weight)
    y.backward(full([rows, n], 0.1))
    const rms = Math.sqrt((n === 4 ? 7.5 : 1) + 1e-6)
    const dweight = await weight.grad!.data()
    for (let j = 0; j < n; j++) assertNear(dweight[j]!, (rows * Math.fround(0.1) * (j + 1)) / rms, `dweight [${rows}, ${n}]`)
    for (const t of [x, weight, y]) t.dispose()
  }
})
test(`matmul over a k of ${MANY}`, async () => {
  const expected = MANY * Math.fround(0.1) * Math.fround(0.7)
  const [a, b] = [full([1, MANY], 0.1), full([MANY, 1], 0.7)]
  assertNear(await readOne(() => matmul(a, b)), expected, 'matmul')
  for (const t of [a, b]) t.dispose()
})
/** A k that every variant divides into blocks. A sum of so many terms without blocks is 1e-4 off. */
const LONG_K = 16_403
/**
 * The sizes for a variant. Tiles compute 4,096 products for each step of k, large ones 16,384, whatever m and n are, which takes SwiftShader
 * minutes.
 */
function sizesFor(variant: string): [m: number, n: number, k: number][] {
  if (few && variant.startsWith('tiled')) return [[3, 5, LONG_K]]
  // It takes rows in fours.
  if (variant === 'broadcast') return [[3, 5, 100_000]]
  return [
    [1, 1, 300_003],
    [3, 5, 100_000],
  ]
}
// Both tiled variants are the same code, of which the default device compiles the smaller one.
for (const variant of ['direct', 'subgroup', 'broadcast', 'tiled', ...(pipelines === 'most' ? [] : ['tiledLarge'])]) {
  test(`matmul over a long k, ${variant}`, async () => {
    device.kernels.pinned.set('matmul', variant)
    for (const [m, n, k] of sizesFor(variant)) {
      const [a, b] = [full([m, k], 0.1), full([k, n], 0.7)]
      const c = await scope(() => matmul(a, b)).data()
      for (const value of c) assertNear(value, k * Math.fround(0.1) * Math.fround(0.7), `matmul ${m}x${n}x${k}`)
      for (const t of [a, b]) t.dispose()
    }
    device.kernels.pinned.delete('matmul')
  })
}
test('the gradient of an embedding whose rows are used many times', async () => {
  for (const width of [1, 4]) {
    const count = 200_003
    const weight = full([3, width], 1, { requiresGrad: true })
    const y = embedding(weight, full([count], 1, { dtype: 'int32' }))
    y.backward(full([count, width], 0.1))
    const grad = await weight.grad!.data()
    assertNear(grad[width]!, count * Math.fround(0.1), `embedding gradient, width ${width}`)
    for (const t of [weight, y]) t.dispose()
  }
})
test('ends', () => device.destroy())
run()
