import { DeviceLostError, KernelCompileError, OutOfMemoryError, ValidationError } from '../../engine/base/errors.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { Profiler } from '../../engine/submit/profiler.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { run as dispatch, fromStorageStart } from '../../engine/tensor/run.ts'
import { scope } from '../../engine/tensor/scope.ts'
import { empty, view } from '../../engine/tensor/tensor.ts'
import { ceilDiv, grid1d, type KernelSpec } from '../../kernels/spec.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('device')
const device = await requestDevice()

/** A kernel of this test: out[i] = x[i] * factor. */
function scaleSpec(body = 'out[i] = x[i] * params.factor;'): KernelSpec<{ size: number; factor: number }> {
  const source = `struct Params { size: u32, factor: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i < params.size) { ${body} }
}`
  return {
    name: `scale ${body}`,
    bindings: [
      { name: 'x', access: 'read', dtype: 'f32' },
      { name: 'out', access: 'read_write', dtype: 'f32' },
    ],
    params: [
      { name: 'size', type: 'u32' },
      { name: 'factor', type: 'f32' },
    ],
    variants: [{ name: 'direct', source, grid: ({ size }) => grid1d(ceilDiv(size, 64)) }],
    flops: ({ size }) => size,
    bytes: ({ size }) => 8 * size,
  }
}

async function rejects(promise: Promise<unknown>, type: new (message: string) => Error, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof type) || !message.test(error.message))
    throw new Error(`got ${error}, expected ${type.name} ${message}`)
}

test('runs dispatches in order, with their own parameters, beyond one batch and one parameter ring', async () => {
  const spec = scaleSpec()
  let x = tensor([1, 2, 3])
  for (let i = 0; i < 1500; i++) {
    const out = empty([3])
    dispatch(spec, { size: 3, factor: i % 2 === 0 ? 2 : 0.5 }, [x, out])
    x.dispose()
    x = out
  }
  assertClose(await x.data(), [1, 2, 3], 0, 'values')
})

test('a write waits for what reads the memory before it', async () => {
  const spec = scaleSpec()
  const x = tensor([1, 2])
  const [before, after] = [empty([2]), empty([2])]
  dispatch(spec, { size: 2, factor: 10 }, [x, before])
  x.write(Float32Array.of(5, 6))
  dispatch(spec, { size: 2, factor: 10 }, [x, after])
  assertClose(await before.data(), [10, 20], 0, 'before')
  assertClose(await after.data(), [50, 60], 0, 'after')
})

test('a read sees the values at its place in the order, though the tensor is disposed at once', async () => {
  const spec = scaleSpec()
  const readings: Promise<ArrayLike<number>>[] = []
  for (let i = 1; i <= 20; i++) {
    scope(() => {
      const out = empty([1])
      dispatch(spec, { size: 1, factor: i }, [tensor([1]), out])
      readings.push(out.data())
    })
  }
  for (const [i, reading] of readings.entries()) assertClose(await reading, [i + 1], 0, `reading ${i}`)
})

test('a kernel that does not compile says where, and the device goes on', async () => {
  const out = empty([1])
  dispatch(scaleSpec('out[i] = x[i] * params.factr;'), { size: 1, factor: 1 }, [tensor([1]), out])
  await rejects(out.data(), KernelCompileError, /kernel scale.*direct.*error at 8:\d+.*factr/)
  assertClose(await tensor([7]).data(), [7], 0, 'afterwards')
})

test('every read of what a failed batch computed is told, later ones are not', async () => {
  const [x, out] = [tensor([1]), empty([1])]
  dispatch(scaleSpec('out[i] = x[i] * params.fctor;'), { size: 1, factor: 1 }, [x, out])
  const next = empty([1])
  dispatch(scaleSpec(), { size: 1, factor: 1 }, [out, next])
  const outcomes = await Promise.allSettled([out.data(), next.data(), next.data()])
  const told = outcomes.filter((outcome) => outcome.status === 'rejected' && outcome.reason instanceof KernelCompileError)
  if (told.length !== 3) throw new Error(`${told.length} of 3 were told`)
  assertClose(await tensor([7]).data(), [7], 0, 'afterwards')
})

test('a command that WebGPU rejects is an error that names the op', async () => {
  const x = tensor([1])
  dispatch(scaleSpec(), { size: 1, factor: 1 }, [x, x])
  await rejects(x.data(), ValidationError, /scale.*direct/s)
  assertClose(await tensor([7]).data(), [7], 0, 'afterwards')
})

test('too much memory is an error at once', () => {
  try {
    empty([2 ** 30, 1])
  } catch (error) {
    if (error instanceof OutOfMemoryError && /4294967296 bytes/.test(error.message)) return
    throw error
  }
  throw new Error('no error')
})

test('memory comes back: live bytes are steady over many steps, and trim gives the rest to the driver', async () => {
  const spec = scaleSpec()
  const step = () =>
    scope(() => {
      const out = empty([1000])
      dispatch(spec, { size: 1000, factor: 2 }, [empty([1000]), out])
    })
  step()
  const { liveBytes, buffers } = device.memory
  for (let i = 0; i < 2000; i++) step()
  await device.synchronize()
  const after = device.memory
  if (after.liveBytes > liveBytes || after.buffers > buffers + 2) throw new Error(JSON.stringify({ liveBytes, buffers, after }))
  device.trim()
  if (device.memory.cachedBytes !== 0) throw new Error(`${device.memory.cachedBytes} bytes kept`)
})

test('strided views are read as what they are', async () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])
  assertClose(await view(x, { shape: [3, 2], strides: [1, 3] }).data(), [1, 4, 2, 5, 3, 6], 0, 'transposed')
  assertClose(await view(x, { shape: [2, 2], offset: 1 }).data(), [2, 3, 5, 6], 0, 'sliced')
  assertClose(await view(x, { shape: [2, 2], strides: [0, 3], offset: 2 }).data(), [3, 6, 3, 6], 0, 'broadcast')
  const out = empty([2])
  dispatch(scaleSpec(), { size: 2, factor: 1 }, [fromStorageStart(view(x, { shape: [2], strides: [1], offset: 4 })), out])
  assertClose(await out.data(), [1, 2], 0, 'base')
})

test('the profiler times every dispatch', async () => {
  const profiler = new Profiler(device.gpu)
  device.profiler = profiler
  const out = empty([1000])
  for (let i = 0; i < 5; i++) dispatch(scaleSpec(), { size: 1000, factor: 2 }, [empty([1000]), out])
  await device.synchronize()
  device.profiler = undefined
  const dispatches = await profiler.collect()
  if (dispatches.length !== 5) throw new Error(`${dispatches.length} dispatches`)
  for (const { begin, end } of dispatches) if (!(end >= begin && begin > 0)) throw new Error(`from ${begin} to ${end}`)
})

test('a lost device ends pending and later calls with DeviceLostError', async () => {
  const x = tensor([1, 2])
  const pending = x.data()
  device.destroy()
  const outcome = await pending.then(
    () => 'read',
    (error: unknown) => error,
  )
  if (outcome !== 'read' && !(outcome instanceof DeviceLostError)) throw new Error(`pending: ${outcome}`)
  await device.lost
  await rejects(
    Promise.resolve().then(() => x.data()),
    DeviceLostError,
    /destroyed/,
  )
  await rejects(device.synchronize(), DeviceLostError, /destroyed/)
})

run()
