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
  runsOn,
  type Variant,
} from '../kernels/spec.ts'
import { type Outputs, outputOf } from './outputs.ts'
import { knownDifference } from './statistics.ts'
import { type Prepared, type Target, within } from './target.ts'

/** Largest number of operations of a problem that the reference computes whole; of a larger one it computes a part. */
export const REFERENCE_LIMIT = 2e8

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

/** Makes a target for every kernel, each variant of it that runs on the device, and each of its `benchCases`. */
export function kernelTargets(capabilities: Capabilities): Target[] {
  return Object.values(kernelFamilies as Record<string, readonly KernelEntry[]>)
    .flat()
    .flatMap((entry) =>
      benchCases(entry).flatMap((kase) =>
        entry.spec.variants
          .filter((variant) => runsOn(entry.spec, variant, capabilities, kase.problem))
          .map((variant) => kernelTarget(entry, kase, variant)),
      ),
    )
}

/** Returns the cases of a kernel that are timed: those marked for benches, or the largest case where none is. */
export function benchCases({ spec, cases }: KernelEntry): readonly KernelCase[] {
  const made = cases.filter((kase) => kase.bench)
  if (made.length > 0) return made
  const cost = ({ problem }: KernelCase) => spec.bytes(problem) + spec.flops(problem)
  return [cases.reduce((largest, kase) => (cost(kase) > cost(largest) ? kase : largest))]
}

function kernelTarget(entry: KernelEntry, kase: KernelCase, variant: Variant<any>): Target {
  const { spec } = entry
  return {
    group: 'kernels',
    name: spec.name,
    variant: variant.name,
    shape: kase.name.replace(/^bench /, ''),
    flops: spec.flops(kase.problem),
    bytes: spec.bytes(kase.problem),
    single: true,
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
    const { name, access } = binding
    const dtype = bindingDtype(binding, kase.problem)
    return access === 'read' ? [] : [{ name, dtype, output: outputOf(device, ranges[i]!, dtype, kase.sizes[name]!) }]
  })
  const [first, ...others] = written.map(({ output }) => output)
  if (!first) throw new Error(`${spec.name} writes nothing`)
  const record = (): Outputs => {
    device.dispatch(spec, kase.problem, ranges, variant.name)
    return [first, ...others]
  }
  const named = (name: string) => `${spec.name}/${variant.name} ${kase.name}: ${name}`
  const compare = (values: readonly ArrayLike<number>[]): number => {
    const { expected } = materialOf(entry, kase)
    // An output whose expected values are all NaN is one that this problem does not write.
    const used = written.flatMap(({ name, dtype }, i) => {
      const wanted = expected[name]!
      if (wanted.every(Number.isNaN)) return []
      return within(knownDifference(values[i]!, wanted), toleranceOf(kase, dtype), named(name))
    })
    if (used.length === 0) throw new Error(`${named('')}nothing is known of what it writes`)
    return Math.max(...used)
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
    check: async () => compare(await Promise.all(record().map((output) => output.data()))),
    confirm: (values) => void (changes ? stillFinite(values) : compare(values)),
    dispose() {
      for (const { buffer } of ranges) device.release(buffer)
    },
  }
}

/** The inputs of a case and its expected outputs. */
interface Material {
  /** Part of the key beside `kase`, since kernels may share a list of cases. */
  entry: KernelEntry
  kase: KernelCase
  memory: Map<string, ArrayBuffer>
  expected: Arrays
}

/** The material of the last case, kept because the variants of a case follow each other. */
let material: Material | undefined

function materialOf(entry: KernelEntry, kase: KernelCase): Material {
  if (material?.entry !== entry || material.kase !== kase) {
    const memory = fillCase(entry.spec, withRepeatedInputs(entry, kase))
    material = { entry, kase, memory, expected: reference(entry, kase, memory) }
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
