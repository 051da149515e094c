import { type AdapterSummary, type Device, DeviceLostError, Profiler, reason } from '../engine/index.ts'
import { type Ceilings, measureCeilings } from './ceilings.ts'
import { type Budget, doBench, type Timer, type Timing } from './doBench.ts'
import { CacheFlush } from './flush.ts'
import { type Group, idOf, type Target } from './target.ts'

/** A measured target: milliseconds of one run, and what follows from them. */
export interface BenchResult extends Timing {
  id: string
  group: Group
  name: string
  variant: string
  shape: string
  flops: number
  bytes: number
  gflops: number
  gbps: number
  /** The ceiling that bounds it, and how much of it is reached: least possible time / median. */
  bound: 'compute' | 'memory' | 'dispatch'
  share: number
  /** Norm-relative error of the values before they were timed. */
  error: number
}

/** A target that could not be measured, or whose values were wrong. */
export interface BenchFailure {
  id: string
  reason: string
}

export interface BenchReport {
  date: string
  device: AdapterSummary
  budget: Budget
  /** Whether caches were emptied between runs of kernels. */
  flush: boolean
  ceilings: Ceilings
  results: BenchResult[]
  failures: BenchFailure[]
}

export interface RunOptions {
  budget: Budget
  /** Of single kernels; default the device's own clock where it has one. Everything else is timed on the host's. */
  timer?: Timer | undefined
  /** Empties the caches before each run of a kernel timed on the device. */
  flush: boolean
  onProgress?(done: number, what: string): void
  /** Asked between targets: true leaves out the rest. */
  shouldStop?(): boolean
}

/**
 * Measures the ceilings of the device, then every target, its values first.
 * @throws DeviceLostError; other failures are reported with their target
 */
export async function runBench(device: Device, targets: readonly Target[], options: RunOptions): Promise<BenchReport> {
  const { budget, onProgress } = options
  const timed = options.timer !== 'wall' && device.gpu.features.has('timestamp-query')
  const profiler = timed ? new Profiler(device.gpu) : undefined
  onProgress?.(0, 'ceilings')
  const ceilings = await measureCeilings(device, budget, profiler)
  const flush = options.flush && profiler ? new CacheFlush(device) : undefined
  const results: BenchResult[] = []
  const failures: BenchFailure[] = []
  for (const [i, target] of targets.entries()) {
    if (options.shouldStop?.()) break
    onProgress?.(i, idOf(target))
    try {
      const clock = target.single ? { profiler, flush: flush?.record } : {}
      results.push(await measure(device, target, { ...budget, ...clock }, ceilings))
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      failures.push({ id: idOf(target), reason: reason(error) })
    }
    device.trim()
  }
  flush?.dispose()
  const { summary } = device
  return {
    date: new Date().toISOString(),
    device: summary,
    budget,
    flush: flush !== undefined,
    ceilings,
    results,
    failures,
  }
}

async function measure(
  device: Device,
  target: Target,
  options: Parameters<typeof doBench>[2],
  ceilings: Ceilings,
): Promise<BenchResult> {
  const prepared = target.prepare(device)
  try {
    const error = await prepared.check()
    const timing = await doBench(device, prepared.record, options)
    return { ...describe(target), ...timing, ...rates(target, timing, ceilings), error }
  } finally {
    prepared.dispose()
  }
}

function describe({ group, name, variant, shape, flops, bytes }: Target) {
  return { id: idOf({ group, name, variant, shape }), group, name, variant, shape, flops, bytes }
}

/** Rates of a run, and its place under the roofline: no run is faster than its slowest part at the ceiling. */
export function rates(
  { flops, bytes, single }: Pick<Target, 'flops' | 'bytes' | 'single'>,
  { median, timer }: Pick<Timing, 'median' | 'timer'>,
  ceilings: Ceilings,
): Pick<BenchResult, 'gflops' | 'gbps' | 'bound' | 'share'> {
  const least = {
    compute: flops / ceilings.gflops / 1e6,
    memory: bytes / ceilings.gbps / 1e6,
    // The device's clock does not see what it costs to launch.
    dispatch: single && timer === 'wall' ? ceilings.dispatch / 1000 : 0,
  }
  const bound = (['compute', 'memory', 'dispatch'] as const).reduce((most, one) => (least[one] > least[most] ? one : most))
  return { gflops: flops / median / 1e6, gbps: bytes / median / 1e6, bound, share: least[bound] / median }
}
