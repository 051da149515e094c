import { bindingDtype, type Capabilities, type KernelSpec, runsOn } from '../../kernels/spec.ts'

/** Sizes that a class may have: as many digits fit a number exactly. */
const MAX_SIZES = 8
/** 0, and halves of powers of two from 1 to 2^32. */
const CODES = 66

/** What is looked up of a spec at every dispatch. */
interface Facts {
  /** The parameters that are sizes, where the spec does not say itself. */
  names: string[]
  /** Bindings whose type the problem decides. */
  varying: KernelSpec['bindings']
}

const factsOf = new WeakMap<KernelSpec, Facts>()

function facts(spec: KernelSpec): Facts {
  let found = factsOf.get(spec)
  if (!found) {
    const offsets = spec.bindings.map(({ offset }) => offset)
    const sizes = spec.params.filter(({ name, type, length, optional }) => {
      return type === 'u32' && length === undefined && !optional && !/offset$/i.test(name) && !offsets.includes(name)
    })
    const varying = spec.bindings.filter(({ dtype }) => typeof dtype === 'function')
    found = { names: sizes.map(({ name }) => name), varying }
    factsOf.set(spec, found)
  }
  return found
}

/**
 * The numbers that decide which variant is fastest: the spec's `shapeClass`, or else every scalar u32 parameter that must be
 * given and is no offset.
 * @throws Error when they are too many
 */
export function sizesOf<P>(spec: KernelSpec<P>, problem: P): readonly number[] {
  const sizes = spec.shapeClass?.(problem) ?? facts(spec).names.map((name) => (problem as Record<string, number>)[name]!)
  if (sizes.length > MAX_SIZES)
    throw new Error(`${spec.name}: a shape class of ${sizes.length} numbers; give up to ${MAX_SIZES}`)
  return sizes
}

/** Which variants run a problem, and which of its bindings hold float16 where that varies: shapes that differ in it have nothing in common. */
export function kindOf<P>(spec: KernelSpec<P>, problem: P, device: Capabilities): number {
  let kind = 0
  for (const variant of spec.variants) kind = 2 * kind + Number(runsOn(spec, variant, device, problem))
  for (const binding of facts(spec).varying) kind = 2 * kind + Number(bindingDtype(binding, problem) === 'f16')
  return kind
}

/** Sizes as one number, the same for shapes whose sizes round alike, each to a half of a power of two. */
export function classOf(sizes: readonly number[]): number {
  let key = 0
  for (const size of sizes) key = CODES * key + (size < 1 ? 0 : Math.min(CODES - 1, 1 + Math.round(2 * Math.log2(size))))
  return key
}
