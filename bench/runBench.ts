import { type AdapterSummary, type Device, DeviceLostError, Profiler, reason } from '../engine/index.ts'
import { type Bounds, CeilingGauge, type Ceilings, type Clock } from './ceilings.ts'
import { type BenchOptions, type Budget, doBench, type Timer, type Timing } from './doBench.ts'
import { CacheFlush } from './flush.ts'
import { type Group, idOf, type Prepared, type Target } from './target.ts'

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
  /** The ceilings as they were beside it. */
  ceilings: Bounds
  /** Norm-relative error of the values before they were timed. */
  error: number
}

/** A target that could not be measured, or whose values were wrong, or whose time cannot be. */
export interface BenchFailure {
  id: string
  reason: string
  /** The time that cannot be. */
  result?: BenchResult
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

/** How much of a ceiling can be reached by chance: both are measured, and the machine may do other things meanwhile. */
export const POSSIBLE = 1.05

/** A time shorter than the device could need: less work is done than is counted. */
export class ImpossibleTimeError extends Error {
  override readonly name = 'ImpossibleTimeError'
  readonly result: BenchResult

  constructor(result: BenchResult) {
    const { share, bound, median } = result
    super(
      `${Number(median.toPrecision(3))} ms is ${(100 * share).toFixed(0)} % of the ${bound} ceiling, both measured twice: it does less than is counted`,
    )
    this.result = result
  }
}

/**
 * Measures the ceilings of the device, then every target, its values first and its ceilings beside it.
 * @throws DeviceLostError; other failures are reported with their target
 */
export async function runBench(device: Device, targets: readonly Target[], options: RunOptions): Promise<BenchReport> {
  const { budget, onProgress } = options
  const timed = options.timer !== 'wall' && device.gpu.features.has('timestamp-query')
  const profiler = timed ? new Profiler(device.gpu) : undefined
  onProgress?.(0, 'ceilings')
  const gauge = new CeilingGauge(device, profiler)
  const ceilings = await gauge.measure(budget)
  const flush = options.flush && profiler ? new CacheFlush(device) : undefined
  const results: BenchResult[] = []
  const failures: BenchFailure[] = []
  for (const [i, target] of targets.entries()) {
    if (options.shouldStop?.()) break
    onProgress?.(i, idOf(target))
    try {
      const clock = target.single ? { profiler, flush: flush?.record } : {}
      results.push(await measure(device, target, { ...budget, ...clock }, gauge))
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      const impossible = error instanceof ImpossibleTimeError ? { result: error.result } : {}
      failures.push({ id: idOf(target), reason: reason(error), ...impossible })
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

/** @throws ImpossibleTimeError, and whatever is wrong with the target */
async function measure(device: Device, target: Target, options: BenchOptions, gauge: CeilingGauge): Promise<BenchResult> {
  const prepared = target.prepare(device)
  try {
    const error = await prepared.check()
    // What is worth a look at most, since it is done beside every target.
    const brief = { warmup: 0, time: options.time / 20, least: 2 }
    const clock: Clock = { launches: !options.profiler, flush: options.flush }
    const once = async (thorough: boolean): Promise<BenchResult> => {
      const timing = await doBench(device, prepared.record, { ...options, confirm: prepared.confirm })
      checkWork(target, prepared)
      const bounds = await gauge.beside(target, clock, brief, thorough)
      return { ...describe(target), ...timing, ...rates(target, timing, bounds), ceilings: bounds, error }
    }
    const result = await once(false)
    if (result.share <= POSSIBLE) return result
    const again = await once(true)
    if (again.share <= POSSIBLE) return again
    throw new ImpossibleTimeError(again)
  } finally {
    prepared.dispose()
  }
}

/** @throws Error unless a run executes the operations that are counted: what its outputs do not need is left out of a capture */
function checkWork({ flops }: Target, prepared: Prepared): void {
  const executed = prepared.executed()
  if (executed >= flops * (1 - 1e-9)) return
  const share = (100 * executed) / flops
  throw new Error(
    `a run executes ${executed} of the ${flops} operations that are counted (${share.toFixed(1)} %): its outputs do not need the rest`,
  )
}

function describe({ group, name, variant, shape, flops, bytes }: Target) {
  return { id: idOf({ group, name, variant, shape }), group, name, variant, shape, flops, bytes }
}

/** Rates of a run, and its place under the roofline: no run is faster than its slowest part at the ceiling. */
export function rates(
  { flops, bytes, single }: Pick<Target, 'flops' | 'bytes' | 'single'>,
  { median, timer }: Pick<Timing, 'median' | 'timer'>,
  ceilings: Bounds,
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
