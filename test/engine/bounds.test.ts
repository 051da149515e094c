// Bind groups, free buffers and dropped tensors must not exhaust the process or the device, whatever a program keeps or forgets.
import * as assert from 'uvu/assert'
import { openDevice } from '#platform'
import {
  type Captured,
  capture,
  Device,
  OutOfMemoryError,
  requestDevice,
  scope,
  setDefaultDevice,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import type { PooledBuffer } from '../../engine/memory/deviceBuffer.ts'
import { suite } from '../harness/suite.ts'

/** A limit on bind groups below the driver's own, with which the tests take half the time. */
const limit = globalThis.process?.env.PARAFORMER_BIND_GROUPS
const device = limit ? new Device({ ...(await openDevice({})), bindGroupLimit: Number(limit) }) : await requestDevice()
setDefaultDevice(device)
/** More results than there is room for. */
const MANY = limit ? 35_000 : 70_000
const { test, run } = suite(`bounds of memory on ${device.summary.name}`)

test(`${MANY} results that are kept, with a wait now and then`, async () => {
  const kept: Tensor[] = []
  let x = tensor([1, 2, 3])
  for (let i = 0; i < MANY; i++) {
    x = x.add(1)
    kept.push(x)
    if (i % 10_000 === 0) await device.synchronize()
  }
  assert.equal([...(await x.data())], [MANY + 1, MANY + 2, MANY + 3])
  for (const t of kept) t.dispose()
})

test('as many without any wait end with an error where the driver has no room, and the device goes on', async () => {
  // An operand that is broadcast keeps the sums out of chains, which take few bind groups.
  const one = tensor([1])
  let x = tensor([1, 1])
  const kept: Tensor[] = []
  let failure: unknown
  try {
    for (let i = 0; i < MANY; i++) {
      x = x.add(one)
      kept.push(x)
    }
  } catch (error) {
    failure = error
  }
  if (device.summary.name.includes('llvmpipe')) {
    assert.instance(failure, OutOfMemoryError)
    assert.match((failure as Error).message, /room for \d+ bind groups.*await device\.synchronize\(\)/)
  } else assert.is(failure, undefined)
  assert.equal([...(await x.data())], [kept.length + 1, kept.length + 1])
  for (const t of kept) t.dispose()
  await device.synchronize()
  assert.equal([...(await tensor([20]).add(1).data())], [21])
})

test('captures that hold more than there is room for end with an error, and dispose() makes room', async () => {
  if (!device.summary.name.includes('llvmpipe')) return
  const long = (x: Tensor) => {
    for (let i = 0; i < 3000; i++) x = x.mul(1.5).sub(x)
    return x
  }
  const x = tensor([1])
  const captured: Captured<[Tensor], Tensor>[] = []
  const fill = () => {
    for (let i = 0; i < 8; i++) {
      captured.push(capture(long))
      captured.at(-1)!(x)
    }
  }
  assert.throws(fill, /\d+ of captured steps; .*dispose\(\)/)
  for (const step of captured) step.dispose()
  await device.synchronize()
  const last = capture(long)
  assert.ok((await last(x).item()) < 1e-30)
  last.dispose()
})

test('tensors are freed as fast in the order in which they were made as in reverse', () => {
  const seconds = (reverse: boolean): number => {
    const made = Array.from({ length: 40_000 }, () => tensor([1]))
    if (reverse) made.reverse()
    const begin = performance.now()
    for (const t of made) t.dispose()
    return (performance.now() - begin) / 1000
  }
  seconds(true)
  const [backwards, forwards] = [seconds(true), seconds(false)]
  // This took 100 times as long, and 4 s, when every buffer was searched for its place among the others.
  assert.ok(forwards < 10 * backwards + 0.5, `${forwards} s against ${backwards} s`)
})

test('a buffer that is free is used again, the lowest first, whatever the order they came back in', () => {
  const made = Array.from({ length: 9 }, () => tensor([1]))
  const buffers = made.map(({ storage }) => storage.buffer)
  for (const i of [4, 0, 7, 2, 8, 1, 3, 6, 5]) made[i]!.dispose()
  const again = Array.from({ length: 9 }, () => tensor([1]))
  const ids = again.map(({ storage }) => (storage.buffer as PooledBuffer).id)
  assert.equal(
    ids,
    [...ids].sort((a, b) => a - b),
  )
  assert.ok(again.every(({ storage }) => buffers.includes(storage.buffer)))
  for (const t of again) t.dispose()
})

test('a loop without scope() stays bounded and says once what to do', async () => {
  const warnings: string[] = []
  const { warn } = console
  console.warn = (text: string) => warnings.push(text)
  try {
    const before = device.memory.liveBytes
    device.resetPeakMemory()
    const w = tensor(new Float32Array(1 << 18), { requiresGrad: true }) // 1 MiB
    for (let step = 0; step < 150; step++) {
      const loss = w.mul(2).tanh().sum()
      loss.backward()
      w.grad = undefined
      await loss.item()
    }
    assert.ok(device.memory.peakBytes - before < 256 << 20, `${(device.memory.peakBytes - before) >> 20} MiB at the peak`)
    assert.is(warnings.length, 1)
    assert.match(warnings[0]!, /dropped and only found by the garbage collector; run steps inside scope\(\)/)
  } finally {
    console.warn = warn
  }
})

test('a loop inside scope() warns of nothing', async () => {
  const warnings: string[] = []
  const { warn } = console
  console.warn = (text: string) => warnings.push(text)
  try {
    const x = tensor(new Float32Array(1 << 18))
    for (let step = 0; step < 100; step++) await scope(() => x.mul(2).sum()).item()
    assert.equal(warnings, [])
  } finally {
    console.warn = warn
  }
})

/** A class with tensors in its fields, one of them in a list and one in another object. */
class Statistics {
  readonly mean: Tensor
  readonly inner: { list: Tensor[]; self?: Statistics }
  constructor(x: Tensor) {
    this.mean = x.mean()
    this.inner = { list: [x.sum()] }
    this.inner.self = this
  }
  total(): Tensor {
    return this.inner.list[0]!
  }
}

test('scope() and capture() keep what objects of a class, Maps and Sets hold', async () => {
  const structures: [string, (x: Tensor) => unknown, (result: any) => Tensor[]][] = [
    ['an object of a class', (x) => new Statistics(x), (made: Statistics) => [made.mean, made.total(), made.inner.self!.mean]],
    ['a Map', (x) => new Map([['sum', x.sum()]]), (made: Map<string, Tensor>) => [made.get('sum')!]],
    ['a Map of lists', (x) => new Map([['sum', [x.sum()]]]), (made: Map<string, Tensor[]>) => made.get('sum')!],
    ['a Set', (x) => new Set([x.sum(), x.max()]), (made: Set<Tensor>) => [...made]],
    ['an object with a dispose() of its own', (x) => ({ t: x.sum(), dispose() {} }), (made: { t: Tensor }) => [made.t]],
  ]
  for (const [what, make, tensorsOf] of structures) {
    const x = tensor([1, 2, 3])
    const expected = (await Promise.all(tensorsOf(make(x)).map((t) => t.data()))).map(([value]) => value)
    const before = device.memory.liveBytes
    const scoped = tensorsOf(
      scope(() => {
        x.mul(5)
        return make(x)
      }),
    )
    assert.equal(
      (await Promise.all(scoped.map((t) => t.data()))).map(([value]) => value),
      expected,
      `scope: ${what}`,
    )
    for (const t of scoped) t.dispose()
    assert.is(device.memory.liveBytes, before, `${what}: the rest is freed`)
    const captured = capture((x: Tensor) => make(x))
    captured(tensor([7, 8, 9]))
    const again = captured(x)
    assert.is((again as object).constructor, (make(x) as object).constructor, what)
    const values = await Promise.all(tensorsOf(again).map((t) => t.data()))
    assert.equal(
      values.map(([value]) => value),
      expected,
      `capture: ${what}`,
    )
    captured.dispose()
  }
})

run()
