import * as assert from 'uvu/assert'
import {
  type CaptureStatistics,
  capture,
  colocate,
  crossEntropy,
  dropout,
  fork,
  fromHost,
  linear,
  noGrad,
  OutOfMemoryError,
  requestDevice,
  scaledDotProductAttention,
  scope,
  setDefaultDevice,
  type Tensor,
  tensor,
  withoutScope,
  zeros,
} from '../../engine/index.ts'
import { assertClose } from '../harness/errors.ts'
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

test('a function of whose work nothing is used is refused by its name, whatever it did with it', async () => {
  const x = tensor(numbers(6))
  const weight = tensor(numbers(6), { requiresGrad: true })
  const before = device.memory.liveBytes
  const unused: Record<string, () => unknown> = {
    returnsNothing: () => void x.add(1).exp(),
    scoped: () => scope(() => void x.add(1).exp()),
    offTape: () => noGrad(() => void x.mul(weight).sum()),
    returnsNumbers: () => x.add(1).exp().shape,
    returnsItsInput: () => {
      x.exp().log()
      return x
    },
    dropsItsGradient: () => {
      x.mul(weight).sum().backward()
      weight.grad?.dispose()
      weight.grad = undefined
    },
  }
  for (const [name, fn] of Object.entries(unused)) {
    const captured = capture(fn)
    for (let i = 0; i < 2; i++)
      assert.throws(captured, new RegExp(`nothing uses what ${name} computes, so .* be left out`), name)
  }
  assert.throws(() => capture(() => void x.add(1))(), /what a captured function computes, so its only dispatch would/)
  assert.is(device.memory.liveBytes, before)
  // What is kept, returned in part or written outside is used.
  let kept: Tensor | undefined
  const keeps = capture(() => {
    kept = withoutScope(() => x.add(1))
  })
  keeps()
  assert.equal(await kept!.data(), await x.add(1).data())
  const leavesGradient = capture(() => x.mul(weight).sum().backward())
  leavesGradient()
  assert.equal(await weight.grad!.data(), await x.data())
})

test('an async function is refused: what it does after waiting would run once and never again', async () => {
  const x = tensor(numbers(6))
  async function waits() {
    await undefined
    return x.add(1)
  }
  const computesFirst = async () => x.add(1)
  const fails = async () => Promise.reject(new Error('later'))
  for (const fn of [waits, computesFirst, fails]) {
    assert.throws(capture(fn), new RegExp(`capture: ${fn.name} is async; .* must not wait`))
  }
  assert.is(device.recording, false)
})

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

test('branches coalesced some at a time give the same bits; each group comes after the one before', async () => {
  const x = tensor(numbers(10 * 64), { shape: [10, 64] })
  const leaves = Array.from({ length: 5 }, () => tensor(numbers(64 * 64), { shape: [64, 64], requiresGrad: true }))
  colocate(leaves)
  const step = (together: number | undefined) => () => {
    const branches = leaves.map((weight, i) => [`b${i}`, () => scope(() => linear(linear(x, weight).gelu(), weight))] as const)
    const sum = fork(device, 'coalesced', Object.fromEntries(branches), { together }).reduce((sum, one) => sum.add(one))
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

test('reading inside a capture is one clear error', async () => {
  let read: Promise<unknown> = Promise.resolve()
  const leaking = capture((x: Tensor) => {
    read = x.data().catch((error: Error) => error)
    return x.add(1)
  })
  assert.equal(await leaking(tensor([1])).data(), Float32Array.of(2))
  assert.match(String(await read), /values cannot be read inside it/)
})

test('a function that throws leaves nothing behind, and may be called again', async () => {
  const before = device.memory.liveBytes
  let broken = true
  const captured = capture((x: Tensor) => {
    const y = x.mul(2)
    if (broken) throw new Error('not yet')
    return y
  })
  const x = tensor([1, 2, 3])
  assert.throws(() => captured(x), /not yet/)
  assert.is(device.recording, false)
  broken = false
  const y = captured(x)
  assert.equal(await y.data(), Float32Array.of(2, 4, 6))
  y.dispose()
  captured.dispose()
  x.dispose()
  assert.is(device.memory.liveBytes, before)
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

test('branches of different shapes run beside those that match', async () => {
  const weights = [8, 16, 8, 16, 24].map((rows) => tensor(numbers(rows * 8), { shape: [rows, 8], requiresGrad: true }))
  const forward = (mode: 'serial' | 'coalesced') => (x: Tensor) => {
    const branches = weights.map((w, i) => [`b${i}`, () => scope(() => linear(x, w).gelu().mean())] as const)
    const loss = fork(device, mode, Object.fromEntries(branches)).reduce((sum, one) => sum.add(one))
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

test('a call that is refused loses nothing: a disposed input, host values of another length, a call in a capture', async () => {
  const [x, gone] = [tensor([1, 2]), tensor([3, 4])]
  gone.dispose()
  const before = device.memory.liveBytes
  let length = 1
  const captured = capture((t: Tensor) => t.mul(fromHost(() => new Float32Array(length).fill(length))))
  captured(x).dispose()
  assert.throws(() => captured(gone), /input 0 of shape \[2\] was used after it was disposed/)
  length = 2
  assert.throws(() => captured(x), /write: Float32Array\(2\) into float32 \[1\]/)
  assert.throws(() => capture((t: Tensor) => captured(t))(x), /inside another capture/)
  const huge = device.gpu.limits.maxStorageBufferBindingSize / 4 + 64
  assert.throws(
    () => capture((t: Tensor) => t.add(zeros([huge])))(x),
    /zeros of shape \[\d+\]: a tensor of \d+ bytes is larger/,
  )
  length = 1
  const y = captured(x)
  assert.equal(await y.data(), Float32Array.of(1, 2))
  y.dispose()
  captured.dispose()
  assert.is(device.memory.liveBytes, before)
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
  // The driver has no memory for the buffers of the first recording.
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

test('a sum is not stacked with what is added to it in place', async () => {
  for (const mode of ['serial', 'coalesced'] as const) {
    const x = tensor(new Float32Array(64).fill(1), { requiresGrad: true })
    scope(() => {
      const a = x.mul(1)
      const b = a.reshape([64])
      // In backward the gradients of b and of a are summed one right after the other, then the first is added to the second.
      const sum = [b, b, a, a].map((one) => one.add(0)).reduce((all, one) => all.add(one))
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
      // The first two get one gradient and the third another, so that only what follows attention is coalesced.
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
      const all = [before, ...parts, h.mul(20_000)].reduce((sum, one) => sum.add(one))
      all.sum().backward()
    })
    assert.equal(await x.grad!.data(), Float32Array.of(26_110, 26_110, 26_110), mode)
  }
})

test('dropout in coalesced branches draws the numbers of serial ones, in every replay', async () => {
  const forward = (mode: 'serial' | 'coalesced') => (x: Tensor) => {
    const branch = (i: number) => () => scope(() => dropout(dropout(x.mul(i + 1), 0.4), 0.2))
    const branches = Object.fromEntries(Array.from({ length: 3 }, (_, i) => [`b${i}`, branch(i)]))
    return fork(device, mode, branches).reduce((sum, one) => sum.add(one))
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
