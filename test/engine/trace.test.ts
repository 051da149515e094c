import * as assert from 'uvu/assert'
import { barriers } from '../../engine/graph/barriers.ts'
import { capture, chromeTrace, fork, linear, requestDevice, scope, type Tensor, Tracing, tensor } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('traces')

test('barriers stand between any two uses of a buffer but two reads, over the end of the list too', () => {
  const [a, b, c] = [{}, {}, {}] as [GPUBuffer, GPUBuffer, GPUBuffer]
  const read = (buffer: GPUBuffer) => ({ buffer, write: false })
  const write = (buffer: GPUBuffer) => ({ buffer, write: true })
  const found = barriers([
    { op: 'first', uses: [read(a), write(b)] },
    { op: 'second', uses: [read(a), write(c)] },
    { op: 'third', uses: [read(b), read(b), write(c)] },
    { op: 'fourth', uses: [read(a)] },
  ])
  assert.equal(found, [
    ['write after read of third'],
    ['write after write of third'],
    ['read after write of first', 'write after write of second'],
    [],
  ])
})

test('a coalesced dispatch shows on the track of every branch, with what it waits for', async () => {
  const weights = tensor(
    Float32Array.from({ length: 3 * 64 * 64 }, (_, i) => (i % 13) / 13),
    { shape: [3, 64, 64] },
  )
  const branch = (x: Tensor, i: number) => () =>
    scope(() => linear(linear(x, weights.slice([[i, i + 1]]).reshape([64, 64])), weights.slice([[0, 1]]).reshape([64, 64])))
  const step = capture((x: Tensor) =>
    fork(device, 'coalesced', { left: branch(x, 0), middle: branch(x, 1), right: branch(x, 2) }),
  )
  const x = tensor(new Float32Array(64 * 64), { shape: [64, 64] })
  step(x)
  await device.synchronize()
  const now = () => performance.timeOrigin + performance.now()
  const before = now()
  const tracing = new Tracing(device)
  step(x)
  const traced = await tracing.end()
  for (const time of traced.dispatches.flatMap(({ begin, end }) => [begin, end])) {
    const at = traced.offset + time / 1e6
    assert.ok(before <= at && at <= now(), `on the host's clock at ${at - before} ms of ${now() - before}`)
  }
  const { traceEvents } = JSON.parse(chromeTrace([traced]))
  const names = traceEvents.filter(({ name }: any) => name === 'thread_name').map(({ args }: any) => args.name)
  assert.equal(names.filter((name: string) => name !== 'main').sort(), ['left', 'middle', 'right'])
  for (const name of ['left', 'middle', 'right']) {
    const track = traceEvents.filter(({ ph, tid }: any) => ph === 'X' && tid === names.indexOf(name))
    assert.equal(
      track.map(({ name, args }: any) => [name, args.branches]),
      [
        ['linear', 3],
        ['linear', 3],
      ],
    )
    assert.equal(
      track[1].args.barriers.some((reason: string) => reason === 'read after write of linear'),
      true,
    )
    assert.is(
      track.every(({ dur }: any) => dur > 0),
      true,
    )
    assert.is(traceEvents.filter(({ ph, tid }: any) => ph === 'i' && tid === names.indexOf(name)).length, 2)
  }
})

for (const mode of ['serial', 'streams', 'coalesced'] as const) {
  test(`every branch has a track in mode ${mode}, captured or not, its backward pass too`, async () => {
    const weights = [1, 2].map((value) => tensor(new Float32Array(64).fill(value), { shape: [8, 8], requiresGrad: true }))
    const x = tensor(new Float32Array(64).fill(1), { shape: [8, 8] })
    const step = (x: Tensor) => {
      const branches = weights.map((weight) => () => x.matmul(weight).tanh())
      const [one, other] = fork(device, mode, { one: branches[0]!, other: branches[1]! })
      const total = one!.mul(other!).sum()
      total.backward()
      return total.detach()
    }
    const replay = capture(step)
    for (const run of [() => replay(x), () => scope(() => step(x))]) {
      run()
      await device.synchronize()
      const tracing = new Tracing(device)
      run()
      const { dispatches } = await tracing.end()
      const tracks = (op: string) => dispatches.filter((one) => one.op === op).flatMap(({ streams }) => streams)
      assert.equal(tracks('matmul').sort(), ['one', 'other'])
      assert.equal([...new Set(tracks('tanh.backward'))].sort(), ['one', 'other'])
      assert.equal(tracks('sum'), ['main'])
    }
    replay.dispose()
  })
}

test('ends', () => device.destroy())
run()
