import { type AdapterSummary, type Device, DeviceLostError, Profiler, reason } from '../engine/index.ts'
import { type Bounds, CeilingGauge, type Ceilings, type Clock } from './ceilings.ts'
import { type BenchOptions, type Budget, doBench, type Timer, type Timing } from './doBench.ts'
import { CacheFlush } from './flush.ts'
import { type Group, idOf, type Prepared, type Target } from './target.ts'

/** A measured target: milliseconds of one run, and the rates that follow from them. */
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
  /** The ceiling that bounds the target. */
  bound: 'compute' | 'memory' | 'dispatch'
  /** The reached part of that ceiling: the least possible time over the median. */
  share: number
  /** The ceilings as measured beside the target. */
  ceilings: Bounds
  /** Norm-relative error of the values of the run before the timed ones. */
  error: number
}

/** A target that failed: it could not be measured, its values were wrong, or its time is impossible. */
export interface BenchFailure {
  id: string
  reason: string
  /** The result with the impossible time. */
  result?: BenchResult
}

/** All that a run of the bench found. */
export interface BenchReport {
  /** ISO 8601. */
  date: string
  device: AdapterSummary
  budget: Budget
  /** Whether caches were emptied between runs of kernels. */
  flush: boolean
  ceilings: Ceilings
  results: BenchResult[]
  failures: BenchFailure[]
  /** Number of targets that were not begun: a quick run ends after some seconds, and others when they are asked to. */
  leftOut: number
}

/** Options of `runBench`. */
export interface RunOptions {
  budget: Budget
  /** Whether ceilings are measured as a quick `CeilingGauge` does; default false. */
  quick?: boolean | undefined
  /** Whether no target is begun after `QUICK_MS`; default false. */
  endsSoon?: boolean | undefined
  /** The clock for single kernels; default the device's where it has one. All else is timed by the host's clock. */
  timer?: Timer | undefined
  /** Whether the caches are emptied before each run of a kernel that the device's clock times. */
  flush: boolean
  onProgress?(done: number, what: string): void
  /** Called before each target; when it returns true, the remaining targets are left out. */
  shouldStop?(): boolean
}

/** Milliseconds after which a quick run begins no target, so that it ends within 10 s. */
const QUICK_MS = 7500

/**
 * Largest share of a ceiling that counts as possible. It is above 1 because other work may slow the ceiling's own measurement.
 */
export const POSSIBLE = 1.05

/** Thrown for a time shorter than the device could need: the target does less work than is counted. */
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
 * Measures the ceilings of the device, then every target. The values of a target are checked before it is timed, and its
 * ceilings are measured beside it.
 * @throws DeviceLostError; the report names the other failures with their targets
 */
export async function runBench(device: Device, targets: readonly Target[], options: RunOptions): Promise<BenchReport> {
  const { budget, onProgress } = options
  const began = performance.now()
  const late = () => options.endsSoon === true && performance.now() - began > QUICK_MS
  const timed = options.timer !== 'wall' && device.gpu.features.has('timestamp-query')
  const profiler = timed ? new Profiler(device.gpu) : undefined
  onProgress?.(0, 'ceilings')
  const gauge = new CeilingGauge(device, profiler, options.quick)
  const ceilings = await gauge.measure(budget)
  const flush = options.flush && profiler ? new CacheFlush(device) : undefined
  const results: BenchResult[] = []
  const failures: BenchFailure[] = []
  let begun = 0
  for (const [i, target] of targets.entries()) {
    if (options.shouldStop?.() || late()) break
    begun++
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
    leftOut: targets.length - begun,
  }
}

/**
 * Checks and times a target, and times it once more when the first time is impossible.
 * @throws ImpossibleTimeError when the second time is, too; Error for wrong values
 */
async function measure(device: Device, target: Target, options: BenchOptions, gauge: CeilingGauge): Promise<BenchResult> {
  const prepared = target.prepare(device)
  try {
    const error = await prepared.check()
    // Ceilings are measured beside every target, so each of them gets little time.
    const brief = { warmup: 0, time: options.time / 20, minSamples: 2 }
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

/** @throws Error for a run that executes fewer operations than are counted: a capture leaves out what the outputs do not need */
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

/**
 * Returns the rates of a run and its place under the roofline. The least possible time is the longest that one of the ceilings
 * allows.
 */
export function rates(
  { flops, bytes, single }: Pick<Target, 'flops' | 'bytes' | 'single'>,
  { median, timer }: Pick<Timing, 'median' | 'timer'>,
  ceilings: Bounds,
): Pick<BenchResult, 'gflops' | 'gbps' | 'bound' | 'share'> {
  const least = {
    compute: flops / ceilings.gflops / 1e6,
    memory: bytes / ceilings.gbps / 1e6,
    // The device's clock leaves out the cost of launching.
    dispatch: single && timer === 'wall' ? ceilings.dispatch / 1000 : 0,
  }
  const bound = (['compute', 'memory', 'dispatch'] as const).reduce((most, kind) => (least[kind] > least[most] ? kind : most))
  return { gflops: flops / median / 1e6, gbps: bytes / median / 1e6, bound, share: least[bound] / median }
}
