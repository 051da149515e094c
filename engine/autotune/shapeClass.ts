import { bindingDtype, type Capabilities, type KernelSpec, runsOn } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'

/** The largest number of sizes in a class: a number holds this many digits of base `CODES` exactly. */
const MAX_SIZES = 8
/** The number of codes of a size: one for 0, and one for each half power of two from 2^0 to 2^32. */
const CODES = 66

/** Facts on a spec that every dispatch looks up. */
interface Facts {
  /** The parameters that count as sizes where the spec has no `shapeClass`. */
  names: string[]
  /** The bindings whose type depends on the problem. */
  varying: KernelSpec['bindings']
}

const factsOf = new WeakMap<KernelSpec, Facts>()

function facts(spec: KernelSpec): Facts {
  return getOrMake(factsOf, spec, () => {
    const offsets = spec.bindings.map(({ offset }) => offset)
    const sizes = spec.params.filter(({ name, type, length, optional }) => {
      return type === 'u32' && length === undefined && !optional && !/offset$/i.test(name) && !offsets.includes(name)
    })
    const varying = spec.bindings.filter(({ dtype }) => typeof dtype === 'function')
    return { names: sizes.map(({ name }) => name), varying }
  })
}

/**
 * The numbers that decide which variant is fastest: the spec's `shapeClass`, or by default every required scalar u32 parameter that is no
 * offset.
 * @throws Error when there are more than `MAX_SIZES`
 */
export function sizesOf<P>(spec: KernelSpec<P>, problem: P): readonly number[] {
  const sizes = spec.shapeClass?.(problem) ?? facts(spec).names.map((name) => (problem as Record<string, number>)[name]!)
  if (sizes.length > MAX_SIZES)
    throw new Error(`${spec.name}: a shape class of ${sizes.length} numbers; give up to ${MAX_SIZES}`)
  return sizes
}

/** Encodes which variants run a problem and which of its varying bindings hold float16. Problems of different kinds share no class. */
export function problemKind<P>(spec: KernelSpec<P>, problem: P, device: Capabilities): number {
  let kind = 0
  for (const variant of spec.variants) kind = 2 * kind + Number(runsOn(spec, variant, device, problem))
  for (const binding of facts(spec).varying) kind = 2 * kind + Number(bindingDtype(binding, problem) === 'f16')
  return kind
}

/** Encodes sizes as one number. Each size is rounded to a half power of two, so that similar shapes share a class. */
export function classOf(sizes: readonly number[]): number {
  let key = 0
  for (const size of sizes) key = CODES * key + (size < 1 ? 0 : Math.min(CODES - 1, 1 + Math.round(2 * Math.log2(size))))
  return key
}
