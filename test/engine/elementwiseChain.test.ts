// Eager elementwise ops on small tensors become one dispatch. Everything must be as if each op had its own.
import * as assert from 'uvu/assert'
import { largestChain, SHORTEST_CHAIN } from '../../engine/device/elementwiseChain.ts'
import { full, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { CHAIN_STEPS } from '../../kernels/elementwise/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('chains of elementwise ops')

/** The dispatches that the work of `fn` takes. */
async function dispatchesOf(fn: () => Tensor | Promise<unknown>): Promise<number> {
  await device.synchronize()
  const before = device.counts.dispatches
  const result = fn()
  await device.synchronize()
  if (result instanceof Promise) await result
  else result.dispose()
  return device.counts.dispatches - before
}

/** Runs `fn` with a dispatch for each op: a pinned variant is taken as it is. */
async function oneByOne<T>(fn: () => Promise<T>): Promise<T> {
  device.kernels.pinned.set('fold', 'none')
  try {
    return await fn()
  } finally {
    device.kernels.pinned.delete('fold')
  }
}

/** Numbers from a generator with a seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A program of elementwise ops with gradients, reads, views and tensors that are freed at once. @returns the bits of all that it read */
async function program(seed: number, size: number): Promise<string[]> {
  const random = randomOf(seed)
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const values = () => tensor(Float32Array.from({ length: size }, () => 0.5 + random()))
  const leaf = values()
  leaf.requiresGrad = true
  const wide = tensor(Float32Array.from({ length: 3 * size }, () => random()))
  const live: Tensor[] = [values(), values(), leaf, wide.slice([[size, 2 * size]]), tensor([1.5])]
  const reads: Promise<ArrayLike<number>>[] = []
  for (let k = 0; k < 90; k++) {
    const a = any(live)
    const made = any([
      () => a.add(any(live)),
      () => a.sub(any(live)),
      () => a.mul(any(live)),
      () => a.mul(random()),
      () => a.div(1.3),
      () => a.neg(),
      () => a.relu(),
      () => a.mul(a).sqrt(),
      () => a.tanh(),
    ])()
    live.push(made)
    const roll = random()
    if (roll < 0.3) {
      const [dead] = live.splice(3 + Math.floor(random() * (live.length - 3)), 1)
      dead!.dispose()
    } else if (roll < 0.35) reads.push(any(live).data())
    if (live.length > 12) live.splice(5, 1)[0]!.dispose()
  }
  const last = live.filter((t) => t.size === size && t.requiresGrad).at(-1)
  if (last && last !== leaf) {
    last.backward(full([size], 1))
    reads.push(leaf.grad!.data())
  }
  reads.push(...live.map((t) => t.data()))
  const all = await Promise.all(reads)
  for (const t of [...live, leaf, wide]) if (!t.disposed) t.dispose()
  return all.map((data) => Buffer.from((data as Float32Array).buffer).toString('hex'))
}

test('random programs give the bits of ops that run one by one', async () => {
  for (const size of [1, 7, 1024]) {
    for (let seed = 1; seed <= 4; seed++) {
      const chained = await program(seed, size)
      assert.equal(chained, await oneByOne(() => program(seed, size)), `seed ${seed}, ${size} elements`)
    }
  }
})

test('a chain is a dispatch for as many steps and tensors as a kernel takes', async () => {
  const [x, y] = [full([32, 32], 1), full([32, 32], 2)]
  const sums = (n: number, dispose: boolean) => () => {
    let sum = x.add(y)
    const made = [sum]
    for (let k = 1; k < n; k++) {
      const next = sum.add(y)
      if (dispose) sum.dispose()
      else made.push(next)
      sum = next
    }
    return dispose ? sum : Promise.all(made.map(async (t) => t.dispose()))
  }
  assert.is(await dispatchesOf(sums(SHORTEST_CHAIN - 1, true)), SHORTEST_CHAIN - 1)
  assert.is(await dispatchesOf(sums(SHORTEST_CHAIN, true)), 1)
  assert.is(await dispatchesOf(sums(2 * CHAIN_STEPS, true)), 2)
  // Two operands and six results fill eight bindings; later chains begin with one more operand.
  assert.is(await dispatchesOf(sums(12, false)), 2)
  assert.is(await oneByOne(() => dispatchesOf(sums(12, true))), 12)
  for (const t of [x, y]) t.dispose()
})

test('tensors of other sizes, and large ones, are not in a chain', async () => {
  const [x, y, large] = [full([8], 1), full([9], 1), full([largestChain(device.capabilities) + 1], 1)]
  const turns = (a: Tensor, b: Tensor) => () => {
    const sums = scope(() => [1, 2, 3, 4].flatMap(() => [a.add(1), b.add(1)]))
    return Promise.all(sums.map(async (t) => t.dispose()))
  }
  assert.is(await dispatchesOf(turns(x, y)), 8)
  assert.is(await dispatchesOf(turns(large, large)), 8)
  for (const t of [x, y, large]) t.dispose()
})

test('a write, a copy and another kernel see what the chain before them wrote', async () => {
  const x = tensor([1, 2, 3, 4])
  const sums = scope(() => {
    let t = x
    for (let k = 0; k < 5; k++) t = t.add(x)
    const total = t.sum()
    const copy = t.transpose(0, 0).clone()
    for (let k = 0; k < 5; k++) t = t.mul(2)
    return [total, copy, t, t.reshape([2, 2]).transpose(0, 1).contiguous()]
  })
  assert.equal(await Promise.all(sums.map(async (t) => [...(await t.data())])), [
    [60],
    [6, 12, 18, 24],
    [192, 384, 576, 768],
    [192, 576, 384, 768],
  ])
  for (const t of [x, ...sums]) t.dispose()
})

test('buffers that a chain uses are not destroyed where its end submits the stream', async () => {
  const x = tensor([1])
  const long = full([6], 1)
  // 126 launches wait in the stream when three ops, too few for a chain, follow, and then one of another size.
  const ends = () =>
    scope(() => {
      for (let k = 0; k < 126; k++) x.tanh()
      const y = x.add(1)
      return [y, y.mul(2), y.mul(3), long.add(2)]
    })
  for (const t of ends()) t.dispose()
  await device.synchronize()
  const [y, ...others] = ends()
  y!.dispose()
  // Free buffers that no submission to come uses are destroyed.
  device.trim()
  assert.equal(await Promise.all(others.map(async (t) => (await t.data())[0])), [4, 6, 3])
  for (const t of [x, long, ...others]) t.dispose()
})

run()
