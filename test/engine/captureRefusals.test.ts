import * as assert from 'uvu/assert'
import {
  capture,
  fromHost,
  noGrad,
  requestDevice,
  scope,
  type Tensor,
  tensor,
  withoutScope,
  zeros,
} from '../../engine/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`refusals of capture on ${device.summary.name}`)

const random = testRandom(7)
const numbers = (count: number) => Float32Array.from({ length: count }, () => random() * 2 - 1)

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
  // Work counts as used when its result is kept or is a gradient.
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
  assert.is(device.capturing, false)
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
  assert.is(device.capturing, false)
  broken = false
  const y = captured(x)
  assert.equal(await y.data(), Float32Array.of(2, 4, 6))
  y.dispose()
  captured.dispose()
  x.dispose()
  assert.is(device.memory.liveBytes, before)
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

test('ends', () => device.destroy())
run()
