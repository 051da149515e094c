import * as assert from 'uvu/assert'
import {
  type CaptureStatistics,
  capture,
  crossEntropy,
  dropout,
  fromHost,
  linear,
  noGrad,
  OutOfMemoryError,
  requestDevice,
  scope,
  setDefaultDevice,
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

test('what nobody reads is left out of a replay, but host values are computed and random numbers drawn', async () => {
  let calls = 0
  device.random.seed = 9
  const captured = capture((x: Tensor) =>
    scope(() => {
      const scale = fromHost(() => Float32Array.of(++calls))
      dropout(x.mul(scale).exp(), 0.5)
      return x.add(1)
    }),
  )
  const x = tensor(numbers(6))
  for (let i = 0; i < 3; i++) {
    const values = await captured(x).data()
    assert.equal(values, await noGrad(() => x.add(1)).data())
  }
  assert.is(calls, 3)
  assert.is(device.random.counter, 3)
  const unread = capture((x: Tensor) =>
    scope(() => {
      x.mul(fromHost(() => Float32Array.of(++calls))).exp()
      return x.add(1)
    }),
  )
  for (let i = 0; i < 3; i++) assert.equal(await unread(x).data(), await noGrad(() => x.add(1)).data())
  assert.is(calls, 6)
  assert.is(unread.statistics[0]!.dispatches, 1)
  captured.dispose()
  unread.dispose()
})

test('gradients, random numbers and host values of a captured step are those of the eager one', async () => {
  const train = (capturing: boolean) => {
    const weight = tensor(
      Array.from({ length: 12 }, (_, i) => (i % 5) / 5 - 0.4),
      { shape: [3, 4], requiresGrad: true },
    )
    let steps = 0
    const step = (x: Tensor, labels: Tensor) => {
      const loss = crossEntropy(linear(dropout(x, 0.3), weight), labels)
      loss.backward()
      const scaled = weight.grad!.mul(fromHost(() => Float32Array.of(1 / ++steps)))
      weight.grad!.dispose()
      weight.grad = undefined
      return { loss, scaled }
    }
    device.random.seed = 5
    return { call: capturing ? capture(step) : (x: Tensor, labels: Tensor) => scope(() => step(x, labels)) }
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

test('results that overlap in time have memory of their own, and disposing them frees nothing', async () => {
  const captured = capture((x: Tensor) => ({ twice: x.mul(2), list: [x.add(1), x], count: 3 }))
  for (let i = 0; i < 3; i++) {
    const { twice, list, count } = captured(tensor([i, i + 1]))
    const reads = [twice.data(), list[0]!.data(), list[1]!.data()]
    twice.dispose()
    const [a, b, c] = await Promise.all(reads)
    assert.equal([...a!, ...b!, ...c!], [2 * i, 2 * i + 2, i + 1, i + 2, i, i + 1])
    assert.is(count, 3)
  }
  const [statistics] = captured.statistics as readonly [CaptureStatistics]
  assert.ok(statistics.bytes > 0 && statistics.bound <= statistics.bytes)
})

test('memory is planned by lifetime: a chain needs two buffers, whatever its length', () => {
  const chain = capture((x: Tensor) => {
    let y = x
    for (let i = 0; i < 20; i++) y = y.exp()
    return y.sum()
  })
  chain(tensor(new Float32Array(4096)))
  const [{ bytes, unplanned }] = chain.statistics as readonly [CaptureStatistics]
  assert.ok(unplanned >= 20 * 4096 * 4, String(unplanned))
  assert.ok(bytes <= 2 * 4096 * 4 + 1024, String(bytes))
})

test('what a call returned may be the input of the next one, and what was made outside stays alive', async () => {
  const weight = tensor([2, 2])
  const swap = capture((x: Tensor, y: Tensor) => ({ pair: [y, x], weight, grown: x.mul(weight) }))
  let pair = [tensor([1, 2]), tensor([3, 4])]
  for (let i = 0; i < 3; i++) {
    const [x, y] = await Promise.all(pair.map((t) => t.data()))
    const result = swap(pair[0]!, pair[1]!)
    pair = result.pair
    assert.equal(await Promise.all(pair.map((t) => t.data())), [y, x])
    assert.equal(
      await result.grown.data(),
      x!.map((value) => 2 * value),
    )
  }
  swap.dispose()
  assert.equal(await weight.data(), Float32Array.of(2, 2))
})

test('calls that wait for pipelines run in their turn with their own values, also when all was disposed meanwhile', async () => {
  const other = await requestDevice()
  const before = other.memory.liveBytes
  const [x, weight] = [tensor([1, 2, 3]), tensor([1, 1, 1])]
  const shared = new Float32Array(1)
  const next = () => shared.fill(shared[0]! + 1)
  const captured = capture((t: Tensor) => t.add(weight).mul(fromHost(next)).mul(fromHost(next)))
  const reads = Array.from({ length: 3 }, () => {
    const result = captured(x)
    const read = result.data()
    result.dispose()
    return read
  })
  captured.dispose()
  other.trim()
  weight.write(Float32Array.of(9, 9, 9))
  const later = tensor([7, 7, 7])
  assert.equal(
    await Promise.all(reads),
    [1 * 2, 3 * 4, 5 * 6].map((n) => Float32Array.of(2 * n, 3 * n, 4 * n)),
  )
  assert.equal(await later.data(), Float32Array.of(7, 7, 7))
  for (const t of [x, weight, later]) t.dispose()
  assert.is(other.memory.liveBytes, before)
  other.destroy()
  setDefaultDevice(device)
})

test('memory that the driver did not have is reported and not used again', async () => {
  const other = await requestDevice()
  const x = tensor([1, 2])
  await other.synchronize()
  const before = other.memory
  const sum = capture((t: Tensor) => t.add(1).mul(2))
  // The driver reports that it has no memory for the buffers of the first capture.
  const { gpu } = other
  const [create, pop] = [gpu.createBuffer.bind(gpu), gpu.popErrorScope.bind(gpu)]
  let failing = false
  gpu.createBuffer = (descriptor) => {
    failing = (descriptor.usage & GPUBufferUsage.STORAGE) !== 0
    return create(descriptor)
  }
  gpu.popErrorScope = () => {
    const error = failing ? ({ message: 'none left' } as GPUError) : undefined
    failing = false
    return pop().then((real) => error ?? real)
  }
  const y = sum(x)
  Object.assign(gpu, { createBuffer: create, popErrorScope: pop })
  let error: unknown
  await y.data().catch((reason) => {
    error = reason
  })
  assert.ok(error instanceof OutOfMemoryError, String(error))
  y.dispose()
  sum.dispose()
  assert.equal({ ...other.memory, peakBytes: 0 }, { ...before, peakBytes: 0 })
  assert.equal(await sum(x).data(), Float32Array.of(4, 6))
  other.destroy()
  setDefaultDevice(device)
})

test('ends', () => device.destroy())
run()
