import * as assert from 'uvu/assert'
import {
  autocast,
  capture,
  dropout,
  fork,
  layerNorm,
  linear,
  noGrad,
  ones,
  recompute,
  requestDevice,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '../../engine/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`recompute on ${device.summary.name}`)

const random = testRandom(11)
const numbers = (count: number) => Float32Array.from({ length: count }, () => random() * 2 - 1)
const W = 24
const parameter = (shape: number[]) => tensor(numbers(shape.reduce((a, b) => a * b)), { shape, requiresGrad: true })
const weights = [parameter([W, W]), parameter([W, W]), parameter([W, W])]
const gain = ones([W])
const shift = zeros([W])
gain.requiresGrad = true
const leaves = [...weights, gain]
const input = tensor(numbers(7 * W), { shape: [7, W] })

/** A layer that saves many values for backward and draws random numbers. */
const layer = (weight: Tensor) => (x: Tensor) =>
  linear(dropout(layerNorm(x, gain, shift), 0.3), weight, undefined, { gelu: true }).mul(x)

type Around = (fn: (x: Tensor) => Tensor, x: Tensor) => Tensor
const plain: Around = (fn, x) => fn(x)
const again: Around = (fn, x) => recompute(fn, x)

/** The loss and all gradients of a step; clears the gradients. */
async function gradientsOf(step: () => Tensor): Promise<Float32Array[]> {
  const loss = step()
  const values = [loss, ...leaves.map(({ grad }) => grad!)].map((t) => t.data())
  const all = (await Promise.all(values)) as Float32Array[]
  loss.dispose()
  for (const leaf of leaves) {
    leaf.grad?.dispose()
    leaf.grad = undefined
  }
  return all
}

const step = (around: Around) => (x: Tensor) =>
  scope(() => {
    const out = weights.reduce((z, weight) => around(layer(weight), z), x)
    const loss = out.mul(out).sum()
    loss.backward()
    return loss.detach()
  })

test('results, gradients and random numbers have the bits of keeping everything', async () => {
  device.random.seed = 3
  const expected = await gradientsOf(() => step(plain)(input))
  const { counter } = device.random
  for (const values of expected) assert.ok(values.every(Number.isFinite) && values.some((value) => value !== 0))
  device.random.seed = 3
  assert.equal(await gradientsOf(() => step(again)(input)), expected)
  assert.is(device.random.counter, counter)
  // One recomputed function calls another.
  device.random.seed = 3
  const nested: Around = (fn, x) => recompute((z) => recompute(fn, z), x)
  assert.equal(await gradientsOf(() => step(nested)(input)), expected)
  assert.is(device.random.counter, counter)
})

test('replays of a captured step keep their bits, and draw anew', async () => {
  const results = async (around: Around) => {
    device.random.seed = 4
    const captured = capture(step(around))
    const all: Float32Array[] = []
    for (let i = 0; i < 3; i++) {
      const loss = captured(input)
      all.push((await loss.data()) as Float32Array)
      for (const leaf of leaves) all.push((await leaf.grad!.data()) as Float32Array)
    }
    const { bytes } = captured.statistics[0]!
    captured.dispose()
    for (const leaf of leaves) {
      leaf.grad?.dispose()
      leaf.grad = undefined
    }
    return { all, bytes, counter: device.random.counter }
  }
  const expected = await results(plain)
  const got = await results(again)
  assert.equal(got.all, expected.all)
  assert.is(got.counter, expected.counter)
  assert.not.equal(expected.all[0], expected.all[5])
})

test('streams that fork recompute in their own lanes', async () => {
  const forked = (around: Around, mode: 'serial' | 'streams' | 'coalesced') => () =>
    scope(() => {
      const parts = weights.map((weight) => () => around(layer(weight), input))
      const outs = fork(device, mode, Object.fromEntries(parts.map((part, i) => [`b${i}`, part])))
      const loss = outs.reduce((sum, out) => sum.add(out)).sum()
      loss.backward()
      return loss.detach()
    })
  for (const mode of ['serial', 'streams', 'coalesced'] as const) {
    device.random.seed = 5
    const expected = await gradientsOf(forked(plain, mode))
    device.random.seed = 5
    assert.equal(await gradientsOf(forked(again, mode)), expected, mode)
  }
})

test('memory: a chain of layers holds about one of them, and nothing is left behind', async () => {
  const wide = tensor(numbers(4096 * W), { shape: [4096, W] })
  const peak = async (around: Around) => {
    await gradientsOf(() => step(around)(wide))
    await device.synchronize()
    device.trim()
    device.resetPeakMemory()
    const before = device.memory.liveBytes
    await gradientsOf(() => step(around)(wide))
    await device.synchronize()
    assert.is(device.memory.liveBytes, before)
    return device.memory.peakBytes - before
  }
  const [kept, recomputed] = [await peak(plain), await peak(again)]
  assert.ok(recomputed < 0.75 * kept, `${recomputed} bytes of ${kept}`)
  // Dropping the results of a forward pass frees what is saved for backward.
  const before = device.memory.liveBytes
  for (let i = 0; i < 3; i++) scope(() => void again(layer(weights[0]!), wide))
  await device.synchronize()
  assert.is(device.memory.liveBytes, before)
  wide.dispose()
})

test('autocast is the same again', async () => {
  if (!device.gpu.features.has('shader-f16')) {
    assert.throws(() => autocast('float16', () => again(layer(weights[0]!), input)), /shader-f16/)
    return
  }
  const mixed = (around: Around) => () => {
    const loss = scope(() => autocast('float16', () => weights.reduce((z, w) => around(layer(w), z), input).sum()))
    loss.backward()
    return loss
  }
  device.random.seed = 6
  const expected = await gradientsOf(mixed(plain))
  device.random.seed = 6
  assert.equal(await gradientsOf(mixed(again)), expected)
})

test('without a tape it only runs; what does something else the second time is an error', async () => {
  let runs = 0
  const counted = (x: Tensor) => {
    runs++
    return runs > 1 ? x.exp().exp() : x.exp()
  }
  scope(() => noGrad(() => void recompute(counted, input)))
  assert.is(runs, 1)
  runs = 0
  const x = parameter([3])
  const out = recompute(counted, x)
  assert.throws(() => out.sum().backward(), /recompute: the function did not do the same/)
  out.dispose()
})

run()
