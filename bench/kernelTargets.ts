import type { Device } from '../engine/index.ts'
import { attention, attentionGradients, keyValueGradient, queryGradient } from '../kernels/attention/index.ts'
import { fillCase, normal, seededRandom, toleranceOf, valuesOf } from '../kernels/fill.ts'
import { kernelFamilies } from '../kernels/index.ts'
import { matmul } from '../kernels/matmul/index.ts'
import {
  type Arrays,
  bindingDtype,
  type Capabilities,
  type Fill,
  type KernelCase,
  type KernelEntry,
  type KernelSpec,
  launchesOf,
  runsOn,
  type Variant,
} from '../kernels/spec.ts'
import { type Outputs, outputOf } from './outputs.ts'
import { knownDifference } from './statistics.ts'
import { type Prepared, type Target, within } from './target.ts'

/** Largest number of operations of a problem that the reference computes whole; of a larger one it computes a part. */
export const REFERENCE_LIMIT = 2e8

/** Largest sum of operations and bytes of the cases of a quick run. */
const QUICK_COST = 2e5

/** Number of random values that are drawn for an input; a larger input repeats them. */
const DRAWN = 65521

/**
 * The first part of a problem, in the same memory, for kernels whose reference is too slow for a large problem. Only a prefix
 * of the outputs is then compared.
 */
const PREFIX = new Map<KernelSpec, (problem: any) => unknown>([
  // With splits, a part of the problem writes no prefix of the partial products.
  [matmul, (problem) => (problem.splits > 1 ? problem : { ...problem, m: Math.min(problem.m, 8), batches: 1 })],
  ...[attention, queryGradient, keyValueGradient, attentionGradients].map((spec) => [spec, oneImage] as const),
])

function oneImage<P extends object>(problem: P): P {
  return { ...problem, batch: 1 }
}

/**
 * Makes a target for every kernel, each variant of it that runs on the device, and each of its `benchCases`.
 * @param quick takes a small case of each kernel instead
 */
export function kernelTargets(capabilities: Capabilities, quick = false): Target[] {
  return Object.entries(kernelFamilies as Record<string, readonly KernelEntry[]>).flatMap(([family, entries]) =>
    entries.flatMap((entry) =>
      (quick ? [quickCase(entry)] : benchCases(entry)).flatMap((kase) =>
        entry.spec.variants
          .filter((variant) => runsOn(entry.spec, variant, capabilities, kase.problem))
          .map((variant) => ({ ...kernelTarget(entry, kase, variant, capabilities), family })),
      ),
    ),
  )
}

/** Returns the cases of a kernel that are timed: those marked for benches, or the largest case where none is. */
export function benchCases({ spec, cases }: KernelEntry): readonly KernelCase[] {
  const made = cases.filter((kase) => kase.bench)
  return made.length > 0 ? made : [largest(spec, cases)]
}

/** Returns the largest case of a kernel that takes no time, or else its smallest one. */
function quickCase({ spec, cases }: KernelEntry): KernelCase {
  const few = cases.filter(({ problem }) => costOf(spec, problem) <= QUICK_COST)
  if (few.length > 0) return largest(spec, few)
  return cases.reduce((least, kase) => (costOf(spec, kase.problem) < costOf(spec, least.problem) ? kase : least))
}

function costOf(spec: KernelSpec, problem: unknown): number {
  return spec.bytes(problem) + spec.flops(problem)
}

function largest(spec: KernelSpec, cases: readonly KernelCase[]): KernelCase {
  return cases.reduce((most, kase) => (costOf(spec, kase.problem) > costOf(spec, most.problem) ? kase : most))
}

function kernelTarget(entry: KernelEntry, kase: KernelCase, variant: Variant<any>, capabilities: Capabilities): Target {
  const { spec } = entry
  const usual = spec.choose?.(capabilities, kase.problem) ?? spec.variants[0]!.name
  return {
    group: 'kernels',
    name: spec.name,
    variant: variant.name,
    shape: kase.name.replace(/^bench /, ''),
    flops: spec.flops(kase.problem),
    bytes: spec.bytes(kase.problem),
    usual: variant.name === usual,
    single: !spec.launches,
    unit: variant.source.includes('subgroup_matrix') ? 'matrix' : 'vector',
    prepare: (device) => prepare(device, entry, kase, variant),
  }
}

/** Puts the inputs of a case on the device. */
function prepare(device: Device, entry: KernelEntry, kase: KernelCase, variant: Variant<any>): Prepared {
  const { spec } = entry
  const { memory } = materialOf(entry, kase)
  const ranges = spec.bindings.map(({ name }) => ({ buffer: device.acquire(memory.get(name)!.byteLength), offset: 0 }))
  spec.bindings.forEach(({ name }, i) => {
    device.write(ranges[i]!, new Uint8Array(memory.get(name)!))
  })
  const written = spec.bindings.flatMap((binding, i) => {
    const { name, access, scratch } = binding
    const dtype = bindingDtype(binding, kase.problem)
    return access === 'read' || scratch ? [] : [{ name, dtype, output: outputOf(device, ranges[i]!, dtype, kase.sizes[name]!) }]
  })
  const [first, ...others] = written.map(({ output }) => output)
  if (!first) throw new Error(`${spec.name} writes nothing`)
  const record = (): Outputs => {
    for (const launch of launchesOf(spec, kase.problem)) device.dispatch(spec, launch, ranges, variant.name)
    return [first, ...others]
  }
  const named = (name: string) => `${spec.name}/${variant.name} ${kase.name}: ${name}`
  /** Puts what the outputs held before the first run back, mostly poison, so that later runs cannot pass by what an earlier one wrote. */
  const restore = () => {
    spec.bindings.forEach(({ name, access }, i) => {
      if (access !== 'read') device.write(ranges[i]!, new Uint8Array(memory.get(name)!))
    })
  }
  const run = () => Promise.all(record().map((output) => output.data()))
  const compare = (values: readonly ArrayLike<number>[]): number => {
    const { expected } = materialOf(entry, kase)
    if (referenceProblem(spec, kase) !== kase.problem) compareRest(values)
    // An output whose expected values are all NaN is one that this problem does not write.
    const used = written.flatMap(({ name, dtype }, i) => {
      const wanted = expected[name]!
      if (wanted.every(Number.isNaN)) return []
      return within(knownDifference(values[i]!, wanted), toleranceOf(kase, dtype), named(name))
    })
    if (used.length === 0) throw new Error(`${named('')}nothing is known of what it writes`)
    return Math.max(...used)
  }
  // Of a large problem the reference knows a part. The rest must be written too, and be that of the variant before.
  const compareRest = (values: readonly ArrayLike<number>[]): void => {
    const known = materialOf(entry, kase)
    const times = spec.flops(kase.problem) / spec.flops(referenceProblem(spec, kase))
    written.forEach(({ name, dtype }, i) => {
      const due = Math.round(times * count(known.expected[name]!))
      const found = count(values[i]!)
      if (kase.fills?.[name] === undefined && found !== due)
        throw new Error(`${named(name)} has ${found} values, ${due} were due`)
      const whole = known.whole.get(name)
      if (!whole) known.whole.set(name, values[i]!)
      else if (due > 0) within(knownDifference(values[i]!, whole), 2 * toleranceOf(kase, dtype), `${named(name)}, all of it`)
    })
  }
  // An output that has values before a run may be changed by every run, so its values after several runs are unknown.
  const changes = written.some(({ name }) => kase.fills?.[name] !== undefined)
  const stillFinite = (values: readonly ArrayLike<number>[]): void => {
    const { expected } = materialOf(entry, kase)
    written.forEach(({ name }, i) => {
      const odd = expected[name]!.findIndex((wanted, j) => Number.isFinite(wanted) && !Number.isFinite(values[i]![j]!))
      if (odd >= 0) throw new Error(`${named(name)} has ${values[i]![odd]} at ${odd} after the timed runs`)
    })
  }
  return {
    record,
    ops: record,
    executed: () => spec.flops(kase.problem),
    async check() {
      const error = compare(await run())
      restore()
      return error
    },
    async confirm(values) {
      if (!changes) return void compare(values)
      stillFinite(values)
      restore()
      compare(await run())
    },
    dispose() {
      for (const { buffer } of ranges) device.release(buffer)
    },
  }
}

/** Counts the values that are written: the poison is NaN. */
function count(values: ArrayLike<number>): number {
  let found = 0
  for (let i = 0; i < values.length; i++) if (!Number.isNaN(values[i]!)) found++
  return found
}

/** The inputs of a case and its expected outputs. */
interface Material {
  /** Part of the key beside `kase`, since kernels may share a list of cases. */
  entry: KernelEntry
  kase: KernelCase
  memory: Map<string, ArrayBuffer>
  expected: Arrays
  /** Whole outputs by name, as the first variant wrote them, where the reference computes a part. */
  whole: Map<string, ArrayLike<number>>
}

/** The material of the last case, kept because the variants of a case follow each other. */
let material: Material | undefined

function materialOf(entry: KernelEntry, kase: KernelCase): Material {
  if (material?.entry !== entry || material.kase !== kase) {
    const memory = fillCase(entry.spec, withRepeatedInputs(entry, kase))
    material = { entry, kase, memory, expected: reference(entry, kase, memory), whole: new Map() }
  }
  return material
}

/** Computes the expected outputs; NaN where the kernel writes nothing, and beyond the prefix that the reference computes. */
function reference({ spec, reference }: KernelEntry, kase: KernelCase, memory: Map<string, ArrayBuffer>): Arrays {
  const arrays: Arrays = {}
  for (const binding of spec.bindings) {
    const { name } = binding
    arrays[name] = new Float64Array(valuesOf(bindingDtype(binding, kase.problem), memory.get(name)!, kase.sizes[name]!))
  }
  return reference(referenceProblem(spec, kase), arrays)
}

/**
 * Returns the problem that the reference computes for a case: the first part of a large problem where `PREFIX` knows one, else
 * the whole.
 */
export function referenceProblem<P>(spec: KernelSpec<P>, { problem }: KernelCase<P>): P {
  const prefix = spec.flops(problem) > REFERENCE_LIMIT ? PREFIX.get(spec as KernelSpec) : undefined
  return prefix ? (prefix(problem) as P) : problem
}

/**
 * Returns the case with large normal inputs that repeat `DRAWN` values, since drawing millions takes longer than running the
 * kernel.
 */
function withRepeatedInputs({ spec }: KernelEntry, kase: KernelCase): KernelCase {
  const random = seededRandom(1)
  const drawn = Float32Array.from({ length: DRAWN }, () => normal(random))
  const repeat: Fill = (index) => drawn[index % DRAWN]!
  const fills: Record<string, Fill> = { ...kase.fills }
  for (const { name, access } of spec.bindings) {
    const fill = fills[name] ?? (access === 'read' ? 'normal' : undefined)
    if (fill === 'normal' && kase.sizes[name]! > DRAWN) fills[name] = repeat
  }
  return { ...kase, fills }
}
