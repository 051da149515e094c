import type { Device, Profiler } from '../engine/index.ts'
import type { BufferRange } from '../engine/ranges.ts'
import { grid1d, type KernelSpec, type Variant } from '../kernels/spec.ts'
import copyWgsl from './ceilings/copy.wgsl'
import fmaWgsl from './ceilings/fma.wgsl'
import touchWgsl from './ceilings/touch.wgsl'
import { type Budget, doBench } from './doBench.ts'
import { quantiles } from './statistics.ts'

/** What the device can do at best, as measured by kernels that do nothing else. */
export interface Ceilings {
  /** Multiply-adds, GFLOP/s (each counts two). */
  gflops: number
  /** Bytes read and written by a copy larger than the caches, GB/s. */
  gbps: number
  /** Of one more dispatch among many, µs. */
  dispatch: number
  /** Of one more submit, µs. */
  submit: number
  /** From a flush to 4 KB in the host's hands, µs. */
  readback: number
}

const FMA_THREADS = 64

interface Fma {
  rounds: number
  threads: number
  /** Of vec4, in every thread. */
  chains: number
}

function fmaVariant(name: string, builtin: boolean): Variant<Fma> {
  return {
    name,
    source: fmaWgsl,
    constants: ({ chains }) => ({ BUILTIN: builtin, CHAINS: chains }),
    grid: ({ threads }) => [threads / FMA_THREADS, 1, 1],
  }
}

const fma: KernelSpec<Fma> = {
  name: 'ceilingFma',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [{ name: 'rounds', type: 'u32' }],
  variants: [fmaVariant('builtin', true), fmaVariant('mulAdd', false)],
  flops: ({ rounds, threads, chains }) => rounds * threads * chains * 4 * 2,
  bytes: ({ threads }) => threads * 16,
}

interface Copy {
  /** vec4s. */
  count: number
}

function copyVariant(threads: number, perThread: number): Variant<Copy> {
  return {
    name: `${threads} x ${perThread}`,
    source: copyWgsl,
    constants: () => ({ THREADS: threads, PER_THREAD: perThread }),
    grid: ({ count }) => grid1d(Math.ceil(count / (threads * perThread))),
  }
}

const copy: KernelSpec<Copy> = {
  name: 'ceilingCopy',
  bindings: fma.bindings,
  params: [{ name: 'count', type: 'u32' }],
  // GPUs want many threads; on lavapipe few with much to do come near a memcpy, and many are a fifth as fast.
  variants: [copyVariant(256, 1), copyVariant(256, 4), copyVariant(8, 256)],
  flops: () => 0,
  bytes: ({ count }) => count * 32,
}

const touch: KernelSpec<{ step: number }> = {
  name: 'ceilingTouch',
  bindings: [{ name: 'y', access: 'read_write', dtype: 'u32' }],
  params: [{ name: 'step', type: 'u32' }],
  variants: [{ name: 'one', source: touchWgsl, grid: () => [1, 1, 1] }],
  flops: () => 1,
  bytes: () => 8,
}

/** Bytes of each side of the copy: more than caches hold. */
function copyBytes(device: Device): number {
  const wanted = device.capabilities.software ? 32 << 20 : 256 << 20
  const { maxBufferSize, maxStorageBufferBindingSize } = device.gpu.limits
  return Math.min(wanted, maxBufferSize, maxStorageBufferBindingSize)
}

/**
 * Measures the ceilings of a device; takes a second or two. Rates are the best p20 of a few kernels: other work on the machine
 * lowers what is measured, nothing raises it.
 * @param profiler takes rates from the device's clock; latencies are always the host's
 * @throws Error when one of these kernels does not do its work
 */
export async function measureCeilings(device: Device, budget: Budget, profiler?: Profiler): Promise<Ceilings> {
  const options = { ...budget, profiler }
  const gflops = await fmaRate(device, options)
  const gbps = await copyRate(device, options)
  const { dispatch, submit, readback } = await latencies(device, budget)
  return { gflops, gbps, dispatch, submit, readback }
}

type Options = Budget & { profiler: Profiler | undefined }

async function fmaRate(device: Device, options: Options): Promise<number> {
  const { software, maxWorkgroups } = device.capabilities
  const threads = FMA_THREADS * Math.min(maxWorkgroups, software ? 64 : 8192)
  const rounds = software ? 512 : 1024
  return withBuffers(device, [64, threads * 16], async (ranges) => {
    const [factor, summand] = [0.5, 0.25]
    device.write(ranges[0]!, Float32Array.of(factor, summand, 0.1, 0.2, 0.3, 0.4))
    let best = 0
    for (const chains of [2, 4, 8]) {
      const problem: Fma = { rounds, threads, chains }
      for (const { name } of fma.variants) {
        const timing = await doBench(device, () => device.dispatch(fma, problem, ranges, name), options)
        // Every chain ends where v * 0.5 + 0.25 stands still.
        const [value] = new Float32Array(await device.read(ranges[1]!, 16))
        if (!(Math.abs(value! - chains * 0.5) < 1e-3)) throw new Error(`${fma.name}/${name} of ${chains} chains gives ${value}`)
        best = Math.max(best, fma.flops(problem) / timing.p20 / 1e6)
      }
    }
    return best
  })
}

async function copyRate(device: Device, options: Options): Promise<number> {
  const bytes = copyBytes(device)
  const problem: Copy = { count: Math.floor(bytes / 16) }
  return withBuffers(device, [bytes, bytes], async (ranges) => {
    const last = { ...ranges[0]!, offset: Math.floor((bytes - 16) / 256) * 256 }
    device.write(last, Float32Array.of(1, 2, 3, 4))
    let best = 0
    for (const { name } of copy.variants) {
      const timing = await doBench(device, () => device.dispatch(copy, problem, ranges, name), options)
      const copied = new Float32Array(await device.read({ ...ranges[1]!, offset: last.offset }, 16))
      if (copied.join() !== '1,2,3,4') throw new Error(`${copy.name}/${name}: gives ${copied}, expected 1,2,3,4`)
      best = Math.max(best, copy.bytes(problem) / timing.p20 / 1e6)
    }
    return best
  })
}

/** µs of a dispatch, a submit and a read, each the p20 of rounds on the host's clock. */
async function latencies(device: Device, { time }: Budget): Promise<Pick<Ceilings, 'dispatch' | 'submit' | 'readback'>> {
  return withBuffers(device, [4096], async ([range]) => {
    const many = 100
    const record = () => device.dispatch(touch, { step: 1 }, [range!])
    const each = async (round: () => Promise<unknown>): Promise<number> => {
      await round()
      const samples: number[] = []
      const began = performance.now()
      while (samples.length < 5 || performance.now() - began < time) {
        const start = performance.now()
        await round()
        samples.push(performance.now() - start)
      }
      return quantiles(samples).p20 * 1000
    }
    const dispatches = (count: number, flushEach: boolean) => async () => {
      for (let i = 0; i < count; i++) {
        record()
        if (flushEach) device.flush()
      }
      await device.synchronize()
    }
    const one = await each(dispatches(1, false))
    const together = await each(dispatches(many, false))
    const apart = await each(dispatches(many, true))
    const readback = await each(() => device.read(range!, 4096))
    return {
      dispatch: Math.max(0, together - one) / (many - 1),
      submit: Math.max(0, apart - together) / (many - 1),
      readback,
    }
  })
}

/** Buffers for as long as `use` runs. */
async function withBuffers<T>(
  device: Device,
  sizes: readonly number[],
  use: (ranges: BufferRange[]) => Promise<T>,
): Promise<T> {
  const buffers = sizes.map((bytes) => device.acquire(bytes))
  try {
    return await use(buffers.map((buffer) => ({ buffer, offset: 0 })))
  } finally {
    for (const buffer of buffers) device.release(buffer)
  }
}
