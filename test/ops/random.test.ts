import {
  bernoulli,
  capture,
  full,
  multinomial,
  ones,
  permutation,
  recompute,
  requestDevice,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { assertShapeError } from '../harness/checkOp.ts'
import { messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('random ops')
const seeded = <T>(fn: () => T): T => {
  device.random.seed = 5
  return fn()
}

/** The share of each class below `classes` among values. */
function shares(values: ArrayLike<number>, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0)
  for (let i = 0; i < values.length; i++) counts[values[i]!]!++
  return counts.map((count) => count / values.length)
}

function assertNear(actual: readonly number[], expected: readonly number[], within: number): void {
  if (!expected.every((value, i) => Math.abs(actual[i]! - value) <= within)) throw new Error(`${actual}, expected ${expected}`)
}

const OPS: Record<string, () => Tensor> = {
  bernoulli: () => bernoulli(full([3, 50], 0.5)),
  'multinomial with replacement': () => multinomial(ones([3, 7]), 40, { replacement: true }),
  'multinomial without': () => multinomial(ones([3, 70]), 40),
  permutation: () => permutation(300),
}
for (const [name, op] of Object.entries(OPS)) {
  test(`${name}: a seed repeats, draws differ, replays draw anew what eager calls draw`, async () => {
    const eager = await Promise.all(seeded(() => [op(), op(), op()]).map((t) => t.data()))
    const captured = seeded(() => capture(op))
    const replays: ArrayLike<number>[] = []
    device.random.seed = 5
    for (let i = 0; i < 3; i++) replays.push(await captured().data())
    if (new Set(eager.map(String)).size < 3) throw new Error('draws repeat')
    if (new Set(replays.map(String)).size < 3) throw new Error('replays repeat')
    const again = await seeded(op).data()
    if (`${again}` !== `${eager[0]}`) throw new Error('a seed does not repeat')
  })
}

test('bernoulli: probabilities, 0, 1 and NaN', async () => {
  const p = tensor(Float32Array.from({ length: 40_000 }, (_, i) => [0, 1, 0.3, Number.NaN][i % 4]!))
  const y = await seeded(() => bernoulli(p)).data()
  const kind = (k: number) => Array.from(y).filter((_, i) => i % 4 === k)
  if (!kind(0).every((v) => v === 0) || !kind(1).every((v) => v === 1) || !kind(3).every(Number.isNaN)) throw new Error('ends')
  assertNear(shares(kind(2), 2), [0.7, 0.3], 0.02)
})

test('multinomial: probabilities of the first and of the second draw, and no class of weight 0', async () => {
  const weights = tensor(
    Float32Array.from({ length: 4 * 5000 }, (_, i) => [1, 0, 2, 5][i % 4]!),
    { shape: [5000, 4] },
  )
  const drawn = await seeded(() => multinomial(weights, 3, { replacement: true })).data()
  assertNear(shares(drawn, 4), [1 / 8, 0, 2 / 8, 5 / 8], 0.02)
  const without = await seeded(() => multinomial(weights, 4)).data()
  const place = (k: number) => Array.from(without).filter((_, i) => i % 4 === k)
  assertNear(shares(place(0), 4), [1 / 8, 0, 2 / 8, 5 / 8], 0.03)
  const second = (w: number, others: readonly number[]) => others.reduce((sum, o) => sum + (o / 8) * (w / (8 - o)), 0)
  assertNear(shares(place(1), 4), [second(1, [2, 5]), 0, second(2, [1, 5]), second(5, [1, 2])], 0.03)
  if (!place(3).every((c) => c === -1)) throw new Error('a class of weight 0 was drawn')
  for (let row = 0; row < 5000; row++) {
    if (`${[...without.slice(4 * row, 4 * row + 3)].sort()}` !== '0,2,3')
      throw new Error(`row ${row}: ${without.slice(4 * row, 4 * row + 4)}`)
  }
})

test('multinomial: weights that are no probabilities give -1', async () => {
  for (const replacement of [true, false]) {
    for (const bad of [
      [0, 0],
      [Number.NaN, 1],
      [Infinity, 1],
    ]) {
      const drawn = await multinomial(tensor([bad, [1, 1]]), 1, { replacement }).data()
      if (drawn[0] !== -1 || drawn[1] === -1) throw new Error(`${bad}: ${drawn}`)
    }
  }
})

test('permutation: each number once, in any place alike', async () => {
  for (const n of [1, 2, 7, 1000, 5000]) {
    const order = [...(await permutation(n).data())].sort((a, b) => a - b)
    if (!order.every((value, i) => value === i)) throw new Error(`of ${n}: ${order}`)
  }
  const first: number[] = []
  device.random.seed = 5
  for (let i = 0; i < 600; i++) first.push((await permutation(3).data())[0]!)
  assertNear(shares(first, 3), [1 / 3, 1 / 3, 1 / 3], 0.07)
})

test('a part that runs again for backward draws the same', async () => {
  const x = ones([200], { requiresGrad: true })
  const y = recompute((t: Tensor) => t.mul(bernoulli(full([200], 0.5))).mul(t), x)
  y.sum().backward()
  const [kept, slope] = [await y.data(), await x.grad!.data()]
  if (!kept.every((value, i) => slope[i] === 2 * value)) throw new Error('another mask')
})

test('refuses what it cannot take', () => {
  assertShapeError(
    () => multinomial(ones([2, 3]), 4),
    'multinomial: got 4 draws of 3 classes, takes at most as many, or replacement: true',
  )
  assertShapeError(() => bernoulli(tensor(Int32Array.of(1))), 'bernoulli: got int32 [1]; takes float32')
  const message = messageOf(() => permutation(0))
  if (!message.startsWith('permutation: got 0 as n, takes a whole number from 1')) throw new Error(message)
})
test('ends', () => device.destroy())
run()
