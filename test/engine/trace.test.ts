import * as assert from 'uvu/assert'
import { openDevice } from '#platform'
import {
  capture,
  chromeTrace,
  Device,
  DeviceLostError,
  fork,
  linear,
  requestDevice,
  scope,
  type Tensor,
  Tracing,
  tensor,
} from '../../engine/index.ts'
import { Barriers } from '../../engine/submit/profiler.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('traces')

test('barriers stand between any two uses of a buffer but two reads, over the end of the list too', () => {
  const [a, b, c] = [{}, {}, {}] as [GPUBuffer, GPUBuffer, GPUBuffer]
  const read = (buffer: GPUBuffer) => ({ buffer, write: false })
  const write = (buffer: GPUBuffer) => ({ buffer, write: true })
  const barriers = new Barriers()
  const list = [
    { op: 'first', uses: [read(a), write(b)] },
    { op: 'second', uses: [read(a), write(c)] },
    { op: 'third', uses: [read(b), read(b), write(c)] },
    { op: 'fourth', uses: [read(a)] },
  ]
  const first = list.map(({ op, uses }) => barriers.next(op, uses))
  assert.equal(first, [[], [], ['read after write of first', 'write after write of second'], []])
  const again = list.map(({ op, uses }) => barriers.next(op, uses))
  assert.equal(again, [
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
      const [first, second] = fork(device, mode, { one: branches[0]!, other: branches[1]! })
      const total = first!.mul(second!).sum()
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
      const tracks = (op: string) => dispatches.filter((dispatch) => dispatch.op === op).flatMap(({ streams }) => streams)
      assert.equal(tracks('matmul').sort(), ['one', 'other'])
      assert.equal([...new Set(tracks('tanh.backward'))].sort(), ['one', 'other'])
      assert.equal(tracks('sum'), ['main'])
      const waits = dispatches.filter(({ op, barriers }) => op === 'tanh' && barriers.includes('read after write of matmul'))
      assert.equal(waits.flatMap(({ streams }) => streams).sort(), ['one', 'other'])
    }
    replay.dispose()
  })
}

test('a captured step of more dispatches than a query set holds is traced whole', async () => {
  const count = 2 * 2048 + 3
  const steps = capture((x: Tensor) => scope(() => Array.from({ length: count }).reduce<Tensor>((sum) => sum.add(1), x)))
  const x = tensor([0])
  steps(x)
  await device.synchronize()
  const tracing = new Tracing(device)
  assert.is(await steps(x).item(), count)
  const { dispatches } = await tracing.end()
  assert.is(dispatches.length, count)
  assert.ok(
    dispatches.every(({ begin, end }, i) => begin > 0 && end >= begin && (i === 0 || begin >= dispatches[i - 1]!.begin)),
  )
  steps.dispose()
})

test('what waits for its pipelines is traced, what was recorded before is not, and an end is told', async () => {
  const fresh = new Device(await openDevice({}), {})
  const x = tensor([1, 2], { device: fresh })
  x.sigmoid()
  const tracing = new Tracing(fresh)
  x.tanh().exp()
  const { dispatches } = await tracing.end()
  assert.equal(
    dispatches.map(({ op }) => op),
    ['tanh', 'exp'],
  )
  const another = new Tracing(fresh)
  fresh.destroy()
  const error = await another.end().catch((error: unknown) => error)
  assert.instance(error, DeviceLostError)
})

test('ends', () => device.destroy())
run()
