// Sums of many terms of one sign: rounding must hardly grow with their number, whatever adds them up.
import { cumsum, full, mean, requestDevice, scope, sum, type Tensor, tensor } from '../../engine/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('long sums')
const MANY = 10_000_000
/** Of a sum of at most so many terms, relative. */
const TOLERANCE = 1e-6

function assertNear(actual: number, expected: number, what: string): void {
  const error = Math.abs(actual - expected) / Math.abs(expected)
  if (!(error <= TOLERANCE)) throw new Error(`${what}: got ${actual}, expected ${expected}: ${error.toExponential(2)} off`)
}

function random(count: number, seed: number, transform: (x: number) => number = (x) => x): Float32Array {
  const next = testRandom(seed)
  return Float32Array.from({ length: count }, () => transform(next()))
}

/** Sum in float64. */
function total(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum
}

/** A constant is the worst case: its rounding errors have one sign. */
const CONSTANTS = [0.1, 1 / 3, 0.7]
const lognormal = (x: number) => Math.exp(2 * Math.sqrt(-2 * Math.log(1 - x)) * Math.cos(40 * x))

async function readOne(make: () => Tensor): Promise<number> {
  const [value] = await scope(make).data()
  return value!
}

for (const value of CONSTANTS) {
  const x = Math.fround(value)
  test(`sum and mean of ${MANY} times ${value}`, async () => {
    assertNear(await readOne(() => sum(full([MANY], value))), MANY * x, 'sum')
    assertNear(await readOne(() => mean(full([MANY], value))), x, 'mean')
  })
  test(`sums of ${value} over each place of the dim`, async () => {
    for (const [shape, dim] of [
      [[2, 1_000_003], 1],
      [[700_001, 3], 0],
      [[100_000, 64], 0],
      [[3, 100_003, 5], 1],
    ] as const) {
      const sums = await scope(() => sum(full(shape, value), dim)).data()
      for (const one of sums) assertNear(one, x * shape[dim]!, `sum of [${shape}] over ${dim}`)
    }
  })
  const long = value === 0.1 ? MANY : 1_000_003
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
      for (const one of [t, y]) one.dispose()
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
test('ends', () => device.destroy())
run()
