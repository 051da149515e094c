import * as assert from 'uvu/assert'
import { capture, fork, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { addInPlace } from '../../engine/tensor/pointwise.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('counts of work')
const x = tensor([1, 2, 3])
const y = tensor([4, 5, 6])

/** Counts the submits and dispatches of a call. */
async function counted(fn: () => unknown): Promise<[submits: number, dispatches: number]> {
  await device.synchronize()
  const before = { ...device.counts }
  fn()
  await device.synchronize()
  return [device.counts.submits - before.submits, device.counts.dispatches - before.dispatches]
}

/** Counts the dispatches that a capture records, and those of its longest chain. */
function chainOf(fn: () => Tensor): [recorded: number, chain: number] {
  const captured = capture(fn)
  captured()
  const [{ recorded, chain }] = captured.statistics as readonly [(typeof captured.statistics)[number]]
  captured.dispose()
  return [recorded, chain]
}

test('the device counts submits and dispatches, eager and replayed', async () => {
  const work = () => x.mul(2).add(y).exp()
  const captured = capture(work)
  captured()
  assert.equal(await counted(work), [1, 3])
  assert.equal(await counted(captured), [1, 3])
  captured.dispose()
})

test('every stream of a fork is a submit', async () => {
  const work = (mode: 'serial' | 'streams') => () => {
    const [a, b] = fork(device, mode, { a: () => x.mul(2), b: () => x.mul(3) }) as [Tensor, Tensor]
    return a.add(b)
  }
  for (const run of [work('serial'), capture(work('serial'))]) {
    run()
    assert.equal(await counted(run), [1, 3])
  }
  for (const run of [work('streams'), capture(work('streams'))]) {
    run()
    assert.equal(await counted(run), [3, 3])
  }
})

test('the longest chain follows values, not the order of recording', () => {
  assert.equal(
    chainOf(() => x.mul(2).add(y).exp()),
    [3, 3],
  )
  assert.equal(
    chainOf(() => {
      const a = x.mul(2).mul(3)
      const b = y.mul(2)
      return a.add(b)
    }),
    [4, 3],
  )
})

test('who overwrites what others read must follow them', () => {
  const z = tensor([0, 0, 0])
  const [recorded, chain] = chainOf(() => {
    const read = z.mul(2)
    addInPlace(z, x)
    return read
  })
  assert.equal([recorded, chain], [2, 2])
})

test('ends', () => device.destroy())

run()
