import type { Device, Profiler } from '../engine/index.ts'
import type { Binding } from '../engine/memory/bindings.ts'
import { toHalf } from '../kernels/half.ts'
import { type KernelSpec, runsOn, type Variant } from '../kernels/spec.ts'
import {
  chainsOf,
  copy,
  FMA_THREADS,
  fma,
  type Matrix,
  type Memory,
  matrix,
  matrixRoom,
  read,
  update,
  write,
} from './ceilingKernels.ts'
import { type Budget, doBench } from './doBench.ts'
import { dispatchCost, latencies, withBuffers } from './latencies.ts'
import { type Outputs, outputOf } from './outputs.ts'
import type { Target } from './target.ts'

/** The highest rates and the lowest costs of a device, as kernels that do nothing else reach them. */
export interface Ceilings {
  /** Multiply-adds in float32, GFLOP/s; each counts as two operations. */
  gflops: number
  /** Products of float16 matrices with sums in float32 (tensor cores), GFLOP/s, where the device has them. */
  matrixGflops?: number
  /** Memory bandwidth of a copy, a read, a write or an update in place, whichever is fastest, GB/s. */
  gbps: number
  /** Cost of one more dispatch among many, µs. */
  dispatch: number
  /** Cost of one more submit among many, µs. */
  submit: number
  /** Time from a flush until 4 KB have reached the host, µs. */
  readback: number
}

/** The ceilings of one target; `gflops` is that of the unit that the target multiplies with. */
export type Bounds = Pick<Ceilings, 'gflops' | 'gbps' | 'dispatch'>

/** The way in which a target is timed. */
export interface Clock {
  /** Whether the time includes the cost of launches, as the host's clock does. */
  launches: boolean
  /** Records what empties the caches before each run; undefined leaves them as they are. */
  flush: (() => void) | undefined
}

/** A kernel, its problem, and its bindings, the last of which it writes. */
interface Work<P> {
  spec: KernelSpec<P>
  problem: P
  ranges: readonly Binding[]
  flush?: (() => void) | undefined
}

/** The value that a kernel must write. */
interface Expected {
  value: number
  /** Offset of a second place to check, in bytes; the first place is the start. */
  last?: number
}

/** The value in a kernel's output before its first run: none of the kernels writes it, and `update` raises it. */
const WRONG = -1
/** A ceiling is measured again if its share of the time is at least this part of the other's. */
const MATTERS = 0.25
/** Smallest number of bytes at which bandwidth is measured: there a launch costs little beside the copy. */
const LEAST_BYTES = 1 << 20
/** Bytes that the largest copy reads and writes in all where the only question is whether everything runs. Else it is more than caches hold. */
const QUICK_BYTES = 16 << 20
/** Sizes within this factor share a fastest variant and a highest rate. */
const BYTES_STEP = 4

/**
 * Measures ceilings. A rate is that of the fastest run of a few kernels: other work on the machine lowers a rate, and nothing
 * raises it. Load comes and goes, so the ceilings of a target are measured again beside it.
 */
export class CeilingGauge {
  readonly #device: Device
  readonly #profiler: Profiler | undefined
  /** Fastest variant of each kernel and size, once all variants were tried. */
  readonly #fastest = new Map<string, Variant<any>>()
  /** The highest rate or the lowest cost measured so far, by the name of the ceiling. */
  readonly #best = new Map<string, number>()
  /** Bytes that the largest copy reads and writes in all. */
  readonly #most: number
  readonly #quick: boolean
  #whole: Ceilings | undefined

  /**
   * @param profiler times the rates by the device's clock; costs are timed by the host's
   * @param quick copies less than the caches hold, which takes a fraction of the time and gives bandwidths of the caches, and measures
   *   no ceiling twice
   */
  constructor(device: Device, profiler?: Profiler, quick = false) {
    this.#device = device
    this.#profiler = profiler
    this.#quick = quick
    const wanted = quick ? QUICK_BYTES : device.capabilities.software ? 256 << 20 : 512 << 20
    const { maxBufferSize, maxStorageBufferBindingSize } = device.gpu.limits
    this.#most = Math.min(wanted, 2 * maxBufferSize, 2 * maxStorageBufferBindingSize)
  }

  /**
   * Measures all ceilings.
   * @throws Error when a kernel writes wrong values
   */
  async measure(budget: Budget): Promise<Ceilings> {
    const gflops = await this.#compute('vector', budget, true)
    const matrices = this.#device.capabilities.subgroupMatrix
      ? { matrixGflops: await this.#compute('matrix', budget, true) }
      : {}
    const gbps = await this.#memory(this.#most, undefined, budget, true)
    const costs = await latencies(this.#device, budget)
    this.#keep('dispatch', costs.dispatch, Math.min)
    this.#whole = { gflops, ...matrices, gbps, ...costs }
    return this.#whole
  }

  /**
   * Measures the ceilings again that may bound a target. Bandwidth is measured at the bytes that the target moves, since a size
   * that fits the caches is faster. A ceiling that cannot bound the target keeps the value of `measure`.
   * @param clock how the target itself is timed
   * @param thorough tries all variants again, and takes the best values measured so far
   */
  async beside(target: Target, clock: Clock, budget: Budget, thorough = false): Promise<Bounds> {
    const { launches, flush } = clock
    const whole = this.#whole ?? (await this.measure(budget))
    const before = target.unit === 'matrix' ? (whole.matrixGflops ?? whole.gflops) : whole.gflops
    const [computing, moving] = [target.flops / before, target.bytes / whole.gbps]
    const bytes = this.#bytesFor(target.bytes)
    const gflops = computing >= MATTERS * moving ? await this.#compute(target.unit, budget, thorough) : before
    const gbps = moving >= MATTERS * computing && moving > 0 ? await this.#memory(bytes, flush, budget, thorough) : whole.gbps
    const dispatch = target.single && launches ? await this.#dispatch(budget) : whole.dispatch
    if (!thorough) return { gflops, gbps, dispatch }
    return {
      gflops: Math.max(gflops, this.#best.get(target.unit) ?? 0),
      gbps: Math.max(gbps, this.#best.get(memoryOf(bytes, flush)) ?? 0),
      dispatch: this.#best.get('dispatch') ?? dispatch,
    }
  }

  /**
   * Returns the number of bytes to move beside a target: as many as the target itself, within limits. Fewer would give a lower
   * rate where the caches are emptied before each run, because the caches then write back what they hold.
   */
  #bytesFor(bytes: number): number {
    return Math.min(this.#most, Math.max(LEAST_BYTES, bytes))
  }

  async #compute(unit: Target['unit'], budget: Budget, thorough: boolean): Promise<number> {
    const known = this.#known(unit, thorough)
    if (known !== undefined) return known
    const found = await (unit === 'matrix' ? this.#matrixRate(budget, thorough) : this.#fmaRate(budget, thorough))
    return this.#keep(unit, found, Math.max)
  }

  async #dispatch(budget: Budget): Promise<number> {
    const known = this.#known('dispatch', false)
    if (known !== undefined) return known
    return this.#keep('dispatch', await dispatchCost(this.#device, budget), Math.min)
  }

  /** Returns a ceiling that a quick run need not measure again. */
  #known(what: string, thorough: boolean): number | undefined {
    return this.#quick && !thorough ? this.#best.get(what) : undefined
  }

  #keep(what: string, found: number, better: (a: number, b: number) => number): number {
    const before = this.#best.get(what)
    this.#best.set(what, before === undefined ? found : better(before, found))
    return found
  }

  /** Measures the highest rate of a kernel's variants; unless `thorough`, only the variant that was fastest before is timed. */
  async #rate<P>(
    spec: KernelSpec<P>,
    problem: P,
    what: string,
    thorough: boolean,
    rateOf: (variant: Variant<P>) => Promise<number>,
  ): Promise<number> {
    const known = thorough ? undefined : this.#fastest.get(what)
    const variants = known
      ? [known]
      : spec.variants.filter((variant) => runsOn(spec, variant, this.#device.capabilities, problem))
    let best = 0
    for (const variant of variants) {
      const rate = await rateOf(variant)
      if (rate <= best) continue
      best = rate
      this.#fastest.set(what, variant)
    }
    return best
  }

  #fmaRate(budget: Budget, thorough: boolean): Promise<number> {
    const device = this.#device
    const { software, maxWorkgroups } = device.capabilities
    const problem = { rounds: software ? 512 : 1024, threads: FMA_THREADS * Math.min(maxWorkgroups, software ? 64 : 8192) }
    return withBuffers(device, [64, problem.threads * 16], async (ranges) => {
      const [factor, summand] = [0.5, 0.25]
      device.write(ranges[0]!, Float32Array.of(factor, summand, 0.1, 0.2, 0.3, 0.4))
      return this.#rate(fma, problem, fma.name, thorough, async (variant) => {
        // Every chain converges to the fixed point of v * 0.5 + 0.25.
        const chains = chainsOf(variant)
        const ms = await this.#time({ spec: fma, problem, ranges }, variant, { value: chains * 0.5 }, budget)
        return (chains * fma.flops(problem)) / ms / 1e6
      })
    })
  }

  #matrixRate(budget: Budget, thorough: boolean): Promise<number> {
    const device = this.#device
    const { subgroupMaxSize, subgroupMinSize, maxWorkgroups } = device.capabilities
    const problem: Matrix = { rounds: 512, workgroups: Math.min(maxWorkgroups, 1024), subgroupMaxSize, subgroupMinSize }
    const most = Math.max(...matrix.variants.map(chainsOf))
    const bytes = problem.workgroups * matrixRoom(problem) * most * 1024
    return withBuffers(device, [2 * 256 * (1 + most), bytes], async (ranges) => {
      const element = 2 ** -6
      device.write(ranges[0]!, new Uint16Array(256 * (1 + most)).fill(toHalf(element)))
      return this.#rate(matrix, problem, matrix.name, thorough, async (variant) => {
        const value = problem.rounds * 16 * element ** 2
        const ms = await this.#time({ spec: matrix, problem, ranges }, variant, { value }, budget)
        return (chainsOf(variant) * matrix.flops(problem)) / ms / 1e6
      })
    })
  }

  /** Measures the highest bandwidth of copy, read, write and update. @param bytes what a copy reads and writes in all */
  async #memory(bytes: number, flush: (() => void) | undefined, budget: Budget, thorough: boolean): Promise<number> {
    const device = this.#device
    const problem: Memory = { count: Math.floor(bytes / 32), value: 1 }
    const what = memoryOf(bytes, flush)
    const known = this.#known(what, thorough)
    if (known !== undefined) return known
    return withBuffers(device, [problem.count * 16, problem.count * 16], async ([x, y]) => {
      device.dispatch(write, problem, [x!])
      const last = Math.floor((problem.count * 16 - 16) / 256) * 256
      let best = 0
      const kinds: [KernelSpec<Memory>, Binding[]][] = [
        [copy, [x!, y!]],
        [read, [x!, y!]],
        [write, [y!]],
        [update, [y!]],
      ]
      for (const [spec, ranges] of kinds) {
        const rate = await this.#rate(spec, problem, `${spec.name} ${what}`, thorough, async (variant) => {
          const expected = spec === read ? { value: readBy(variant, problem) } : { value: problem.value, last }
          const ms = await this.#time({ spec, problem, ranges, flush }, variant, expected, budget)
          return spec.bytes(problem) / ms / 1e6
        })
        best = Math.max(best, rate)
      }
      return this.#keep(what, best, Math.max)
    })
  }

  /** Measures the milliseconds of the fastest run. @throws Error unless the kernel writes the expected values */
  async #time<P>(
    { spec, problem, ranges, flush }: Work<P>,
    variant: Variant<P>,
    expected: Expected,
    budget: Budget,
  ): Promise<number> {
    const device = this.#device
    const written = ranges.at(-1)!
    const places = [0, ...(expected.last === undefined ? [] : [expected.last])].map((offset) => ({ ...written, offset }))
    for (const place of places) device.write(place, new Float32Array(4).fill(WRONG))
    const [first, ...others] = places.map((place) => outputOf(device, place, 'f32', 4))
    const record = (): Outputs => {
      device.dispatch(spec, problem, ranges, variant.name)
      return [first!, ...others]
    }
    const confirm = (values: readonly ArrayLike<number>[]) => {
      const odd = values
        .flatMap((output) => Array.from(output))
        .find((value) => !(Math.abs(value / expected.value - 1) <= 1e-3))
      if (odd !== undefined) throw new Error(`${spec.name}/${variant.name} gives ${odd}, expected ${expected.value}`)
    }
    return (await doBench(device, record, { ...budget, profiler: this.#profiler, flush, confirm })).fastest
  }
}

/** Returns the name of a memory ceiling, which all sizes within a factor share. */
function memoryOf(bytes: number, flush: (() => void) | undefined): string {
  return `memory ${Math.round(Math.log(bytes / LEAST_BYTES) / Math.log(BYTES_STEP))}${flush ? ' cold' : ''}`
}

/** Returns the sum that the first thread of `read` writes: the value times the number of vec4s that it reads. */
function readBy({ name }: Variant<Memory>, { count, value }: Memory): number {
  const [threads, perThread] = name.split(' x ').map(Number)
  return value * Math.min(perThread!, Math.ceil(count / threads!))
}
