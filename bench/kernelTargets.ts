import type { Device } from '../engine/index.ts'
import { bytesOf, fillCase, normal, seededRandom, toleranceOf, valuesOf } from '../kernels/fill.ts'
import { kernelFamilies } from '../kernels/index.ts'
import {
  type Arrays,
  bindingDtype,
  type Capabilities,
  type Fill,
  type KernelCase,
  type KernelEntry,
  runsOn,
  type Variant,
} from '../kernels/spec.ts'
import { normDifference } from './statistics.ts'
import { type Prepared, type Target, within } from './target.ts'

/** Operations that a reference in plain loops may take before only a part of the outputs is compared. */
const REFERENCE_LIMIT = 2e8

/** Elements of an input that are drawn; a larger one repeats them. */
const DRAWN = 65521

/**
 * The first part of a problem, in the same memory, for kernels whose reference is too slow for a large one. A prefix of the
 * outputs is then compared.
 */
const PREFIX: Record<string, (problem: any) => unknown> = {
  // Partial products lie one behind the other, so that a part of them is no prefix.
  matmul: (problem) => (problem.splits > 1 ? problem : { ...problem, m: Math.min(problem.m, 8), batches: 1 }),
  attention: (problem) => ({ ...problem, batch: 1 }),
  queryGradient: (problem) => ({ ...problem, batch: 1 }),
  keyValueGradient: (problem) => ({ ...problem, batch: 1 }),
}

/** A target for every kernel, variant that runs on the device, and case made for benches (else the largest there is). */
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

function benchCases({ spec, cases }: KernelEntry): readonly KernelCase[] {
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
    prepare: (device) => prepare(device, entry, kase, variant),
  }
}

function prepare(device: Device, entry: KernelEntry, kase: KernelCase, variant: Variant<any>): Prepared {
  const { spec } = entry
  const { memory } = materialOf(entry, kase)
  const ranges = spec.bindings.map(({ name }) => ({ buffer: device.acquire(memory.get(name)!.byteLength), offset: 0 }))
  spec.bindings.forEach(({ name }, i) => {
    device.write(ranges[i]!, new Uint8Array(memory.get(name)!))
  })
  const record = () => device.dispatch(spec, kase.problem, ranges, variant.name)
  return {
    record,
    async check() {
      const { expected } = materialOf(entry, kase)
      record()
      let worst = 0
      for (const [i, binding] of spec.bindings.entries()) {
        const { name, access } = binding
        if (access === 'read') continue
        const dtype = bindingDtype(binding, kase.problem)
        const size = kase.sizes[name]!
        const bytes = await device.read(ranges[i]!, bytesOf(dtype, size))
        const what = `${spec.name}/${variant.name} ${kase.name}: ${name}`
        const difference = normDifference(valuesOf(dtype, bytes, size), expected[name]!)
        worst = Math.max(worst, within(difference, toleranceOf(kase, dtype), what))
      }
      return worst
    },
    dispose() {
      for (const { buffer } of ranges) device.release(buffer)
    },
  }
}

/** What a case starts from and must give. */
interface Material {
  /** Kernels may share a list of cases. */
  entry: KernelEntry
  kase: KernelCase
  memory: Map<string, ArrayBuffer>
  expected: Arrays
}

/** That of the last case asked for: its variants come one after the other. */
let material: Material | undefined

function materialOf(entry: KernelEntry, kase: KernelCase): Material {
  if (material?.entry !== entry || material.kase !== kase) {
    const memory = fillCase(entry.spec, quickly(entry, kase))
    material = { entry, kase, memory, expected: reference(entry, kase, memory) }
  }
  return material
}

/** Expected outputs; NaN where nothing is known, either since the kernel leaves it alone or beyond the prefix. */
function reference({ spec, reference }: KernelEntry, kase: KernelCase, memory: Map<string, ArrayBuffer>): Arrays {
  const arrays: Arrays = {}
  for (const binding of spec.bindings) {
    const { name } = binding
    arrays[name] = new Float64Array(valuesOf(bindingDtype(binding, kase.problem), memory.get(name)!, kase.sizes[name]!))
  }
  const prefix = PREFIX[spec.name]
  const large = spec.flops(kase.problem) > REFERENCE_LIMIT
  return reference(prefix && large ? prefix(kase.problem) : kase.problem, arrays)
}

/** The case with large normal inputs repeating a few numbers: drawing millions takes longer than running the kernel. */
function quickly({ spec }: KernelEntry, kase: KernelCase): KernelCase {
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
