import * as assert from 'uvu/assert'
import {
  type CaptureStatistics,
  capture,
  colocate,
  dropout,
  fork,
  linear,
  requestDevice,
  scaledDotProductAttention,
  scope,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { assertClose } from '../harness/errors.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`forks on ${device.summary.name}`)

const random = testRandom(7)
const numbers = (count: number) => Float32Array.from({ length: count }, () => random() * 2 - 1)

test('operations are counted of what is used, coalesced or not', async () => {
  const [a, b] = [tensor(numbers(12), { shape: [3, 4] }), tensor(numbers(8), { shape: [4, 2] })]
  const used = capture(() => {
    a.exp()
    return a.matmul(b)
  })
  used()
  assert.is(used.statistics[0]!.flops, 2 * 3 * 4 * 2)
  for (const mode of ['serial', 'coalesced'] as const) {
    const forked = capture(() => fork(device, mode, { a: () => a.matmul(b), b: () => a.matmul(b) }) as Tensor[])
    forked()
    assert.is(forked.statistics[0]!.flops, 2 * 2 * 3 * 4 * 2, mode)
  }
})

test('coalesced branches give the same bits in fewer dispatches', async () => {
  const weights = Array.from({ length: 4 }, () => tensor(numbers(64 * 64), { shape: [64, 64] }))
  const all = tensor(numbers(4 * 64 * 64), { shape: [4, 64, 64] })
  const parts = weights.map((_, i) => all.slice([[i, i + 1]]).reshape([64, 64]))
  const forward = (mode: 'serial' | 'streams' | 'coalesced') => (x: Tensor) => {
    const branches = parts.map((weight, i) => [`b${i}`, () => scope(() => linear(linear(x, weight).gelu(), weight))] as const)
    return fork(device, mode, Object.fromEntries(branches)).reduce((sum, branch) => sum.add(branch))
  }
  const x = tensor(numbers(10 * 64), { shape: [10, 64] })
  const expected = await scope(() => forward('serial')(x)).data()
  for (const mode of ['streams', 'coalesced'] as const) {
    assert.equal(await scope(() => forward(mode)(x)).data(), expected, mode)
    const captured = capture(forward(mode))
    assert.equal(await captured(x).data(), expected, mode)
    const [{ recorded, dispatches }] = captured.statistics as readonly [CaptureStatistics]
    assert.is(recorded, 15)
    assert.is(dispatches, mode === 'streams' ? 15 : 6)
    captured.dispose()
  }
})

test('branches coalesced some at a time give the same bits; each group comes after the one before', async () => {
  const x = tensor(numbers(10 * 64), { shape: [10, 64] })
  const leaves = Array.from({ length: 5 }, () => tensor(numbers(64 * 64), { shape: [64, 64], requiresGrad: true }))
  colocate(leaves)
  const step = (together: number | undefined) => () => {
    const branches = leaves.map((weight, i) => [`b${i}`, () => scope(() => linear(linear(x, weight).gelu(), weight))] as const)
    const sum = fork(device, 'coalesced', Object.fromEntries(branches), { together }).reduce((sum, branch) => sum.add(branch))
    sum.mul(sum).mean().backward()
    const gradients = leaves.map((leaf) => leaf.grad!.mul(1))
    for (const leaf of leaves) {
      leaf.grad!.dispose()
      leaf.grad = undefined
    }
    return [sum, ...gradients]
  }
  const found: { values: unknown[]; dispatches: number }[] = []
  for (const together of [undefined, 5, 3, 2, 1]) {
    const captured = capture(step(together))
    const values = await Promise.all(captured().map((t) => t.data()))
    const [{ dispatches }] = captured.statistics as readonly [CaptureStatistics]
    found.push({ values, dispatches })
    captured.dispose()
  }
  for (const { values } of found) assert.equal(values, found[0]!.values)
  const counts = found.map(({ dispatches }) => dispatches)
  assert.is(counts[1], counts[0])
  assert.ok(counts[1]! < counts[2]! && counts[2]! < counts[3]! && counts[3]! < counts[4]!, counts.join())
})

test('no number of branches to join at a time is one clear error', () => {
  const x = tensor([1, 2])
  for (const together of [0, -1, 1.5, Number.NaN, null as unknown as number]) {
    for (const mode of ['serial', 'streams', 'coalesced'] as const) {
      const call = () => fork(device, mode, { a: () => x.mul(2), b: () => x.mul(3) }, { together })
      assert.throws(call, /fork: .* branches cannot be joined at a time; give a whole number of at least 1/)
    }
  }
})

test('branches of different shapes run beside those that match', async () => {
  const weights = [8, 16, 8, 16, 24].map((rows) => tensor(numbers(rows * 8), { shape: [rows, 8], requiresGrad: true }))
  const forward = (mode: 'serial' | 'coalesced') => (x: Tensor) => {
    const branches = weights.map((w, i) => [`b${i}`, () => scope(() => linear(x, w).gelu().mean())] as const)
    const loss = fork(device, mode, Object.fromEntries(branches)).reduce((sum, branch) => sum.add(branch))
    loss.backward()
    const grads = weights.map((w) => w.grad!.detach())
    for (const w of weights) {
      w.grad!.dispose()
      w.grad = undefined
    }
    return { loss, grads }
  }
  const x = tensor(numbers(5 * 8), { shape: [5, 8] })
  const values = async ({ loss, grads }: { loss: Tensor; grads: Tensor[] }) =>
    Promise.all([loss, ...grads].map(async (t) => [...(await t.data())]))
  const expected = await values(forward('serial')(x))
  assert.equal(await values(forward('coalesced')(x)), expected)
  const captured = capture(forward('coalesced'))
  for (let i = 0; i < 2; i++) assert.equal(await values(captured(x)), expected)
})

test('a sum is not stacked with what is added to it in place', async () => {
  for (const mode of ['serial', 'coalesced'] as const) {
    const x = tensor(new Float32Array(64).fill(1), { requiresGrad: true })
    scope(() => {
      const a = x.mul(1)
      const b = a.reshape([64])
      // Backward sums the gradients of b, then those of a, and then adds the first sum to the second.
      const sum = [b, b, a, a].map((part) => part.add(0)).reduce((sum, part) => sum.add(part))
      const parts = fork(device, mode, { a: () => sum.mul(1), b: () => sum.mul(2) })
      parts[0]!.add(parts[1]!).sum().backward()
    })
    assert.equal(await x.grad!.data(), new Float32Array(64).fill(12), mode)
  }
})

test('a dispatch that writes two gradients comes before the readers of both', async () => {
  const grads: number[][] = []
  const [a, b] = [numbers(96), numbers(96)].map((data) => tensor(data, { shape: [2, 2, 6, 4] }))
  const data = numbers(96)
  for (const mode of ['serial', 'coalesced'] as const) {
    const x = tensor(data, { shape: [2, 2, 6, 4], requiresGrad: true })
    scope(() => {
      const branch = () => scope(() => scaledDotProductAttention(x.mul(2), x.mul(3), x.mul(4)))
      // The first two outputs share a gradient and the third has another, so only the dispatches after attention are coalesced.
      const [first, second, third] = fork(device, mode, { a: branch, b: branch, c: branch }) as [Tensor, Tensor, Tensor]
      first.add(second).mul(a!).sum().add(third.mul(b!).sum()).backward()
    })
    grads.push([...(await x.grad!.data())])
  }
  assertClose(grads[1]!, grads[0]!, 1e-6, 'coalesced')
})

test('gradients from coalesced branches add to those from before and after the fork', async () => {
  for (const mode of ['serial', 'streams', 'coalesced'] as const) {
    const x = tensor([1, 2, 3], { requiresGrad: true })
    scope(() => {
      const h = x.mul(1)
      const before = h.mul(10)
      const parts = fork(device, mode, { a: () => h.mul(100), b: () => h.mul(1000), c: () => h.mul(5000) })
      const all = [before, ...parts, h.mul(20_000)].reduce((sum, part) => sum.add(part))
      all.sum().backward()
    })
    assert.equal(await x.grad!.data(), Float32Array.of(26_110, 26_110, 26_110), mode)
  }
})

test('dropout in coalesced branches draws the numbers of serial ones, in every replay', async () => {
  const forward = (mode: 'serial' | 'coalesced') => (x: Tensor) => {
    const branch = (i: number) => () => scope(() => dropout(dropout(x.mul(i + 1), 0.4), 0.2))
    const branches = Object.fromEntries(Array.from({ length: 3 }, (_, i) => [`b${i}`, branch(i)]))
    return fork(device, mode, branches).reduce((sum, branch) => sum.add(branch))
  }
  const x = tensor(numbers(640), { shape: [10, 64] })
  const follow = async (run: (x: Tensor) => Tensor) => {
    device.random.seed = 9
    const all: number[][] = []
    for (let i = 0; i < 3; i++) all.push([...(await run(x).data())])
    return all
  }
  const expected = await follow(forward('serial'))
  assert.not.equal(expected[0], expected[1])
  const captured = capture(forward('coalesced'))
  assert.equal(await follow(captured), expected)
  const [{ recorded, dispatches }] = captured.statistics as readonly [CaptureStatistics]
  assert.ok(dispatches === recorded - 4, `${recorded} ${dispatches}`)
})

test('ends', () => device.destroy())
run()
