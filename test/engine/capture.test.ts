import * as assert from 'uvu/assert'
import {
  type CaptureStatistics,
  capture,
  crossEntropy,
  dropout,
  fork,
  fromHost,
  linear,
  noGrad,
  requestDevice,
  scope,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`capture on ${device.summary.name}`)

const random = testRandom(7)
const numbers = (count: number) => Float32Array.from({ length: count }, () => random() * 2 - 1)

test('replays give the bits of calling the function', async () => {
  const weight = tensor(numbers(12), { shape: [3, 4], requiresGrad: true })
  const step = (x: Tensor) => scope(() => linear(x, weight, undefined, { gelu: true }).softmax(1))
  const captured = capture(step)
  for (let i = 0; i < 3; i++) {
    const x = tensor(numbers(20), { shape: [5, 4] })
    const expected = await noGrad(() => step(x)).data()
    assert.equal(await captured(x).data(), expected)
  }
  const wide = tensor(numbers(28), { shape: [7, 4] })
  assert.equal(await captured(wide).data(), await noGrad(() => step(wide)).data())
  assert.is(captured.statistics.length, 2)
  captured.dispose()
})

test('gradients, random numbers and host values of a captured step are those of the eager one', async () => {
  const train = (capturing: boolean) => {
    const weight = tensor(
      Array.from({ length: 12 }, (_, i) => (i % 5) / 5 - 0.4),
      { shape: [3, 4], requiresGrad: true },
    )
    let steps = 0
    const one = (x: Tensor, labels: Tensor) => {
      const loss = crossEntropy(linear(dropout(x, 0.3), weight), labels)
      loss.backward()
      const scaled = weight.grad!.mul(fromHost(() => Float32Array.of(1 / ++steps)))
      weight.grad!.dispose()
      weight.grad = undefined
      return { loss, scaled }
    }
    device.random.seed = 5
    return { call: capturing ? capture(one) : (x: Tensor, labels: Tensor) => scope(() => one(x, labels)) }
  }
  const results: ArrayLike<number>[][] = []
  for (const capturing of [false, true]) {
    const { call } = train(capturing)
    const values: ArrayLike<number>[] = []
    for (let i = 0; i < 4; i++) {
      const x = tensor(
        Array.from({ length: 24 }, (_, j) => ((i + j) % 7) - 3),
        { shape: [6, 4] },
      )
      const { loss, scaled } = call(x, tensor([0, 1, 2, 0, 1, 2], { dtype: 'int32' }))
      values.push(await loss.data(), await scaled.data())
    }
    results.push(values)
  }
  assert.equal(results[1], results[0])
})

test('coalesced branches give the same bits in fewer dispatches', async () => {
  const weights = Array.from({ length: 4 }, () => tensor(numbers(64 * 64), { shape: [64, 64] }))
  const all = tensor(numbers(4 * 64 * 64), { shape: [4, 64, 64] })
  const parts = weights.map((_, i) => all.slice([[i, i + 1]]).reshape([64, 64]))
  const forward = (mode: 'serial' | 'streams' | 'coalesced') => (x: Tensor) => {
    const branches = parts.map((weight, i) => [`b${i}`, () => scope(() => linear(linear(x, weight).gelu(), weight))] as const)
    return fork(device, mode, Object.fromEntries(branches)).reduce((sum, one) => sum.add(one))
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

test('reading inside a capture is one clear error', async () => {
  let read: Promise<unknown> = Promise.resolve()
  const leaking = capture((x: Tensor) => {
    read = x.data().catch((error: Error) => error)
    return x.add(1)
  })
  assert.equal(await leaking(tensor([1])).data(), Float32Array.of(2))
  assert.match(String(await read), /values cannot be read inside it/)
})

test('ends', () => device.destroy())
run()
