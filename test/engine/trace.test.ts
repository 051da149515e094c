import * as assert from 'uvu/assert'
import { barriers } from '../../engine/graph/barriers.ts'
import { capture, chromeTrace, fork, linear, Profiler, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
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
  const profiler = new Profiler(device.gpu)
  device.profiler = profiler
  step(x)
  device.profiler = undefined
  await device.synchronize()
  const { traceEvents } = JSON.parse(chromeTrace(await profiler.collect()))
  const names = traceEvents.filter(({ ph }: any) => ph === 'M').map(({ args }: any) => args.name)
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

test('ends', () => device.destroy())
run()
