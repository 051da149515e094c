import { fillCase, valuesOf } from '../../kernels/fill.ts'
import { fromHalf, toHalf } from '../../kernels/half.ts'
import { kernelFamilies } from '../../kernels/index.ts'
import {
  type Arrays,
  bindingDtype,
  type Fill,
  type KernelCase,
  type KernelEntry,
  runsOn,
  type Variant,
} from '../../kernels/spec.ts'
import type { KernelDevice } from './device.ts'
import { chosenVariants } from './fewPipelines.ts'
import { arraysOf, GUARD, launch } from './kernel.ts'

export const { NaN: NAN, POSITIVE_INFINITY: INFINITY } = Number
export const HIGHEST = 3.4028234663852886e38
export const LEAST_NORMAL = 2 ** -126
const SUBNORMAL = Math.fround(1e-40)

const pipelines = globalThis.process?.env.PARAFORMER_PIPELINES

/** Values that are put among ordinary numbers. */
const SPECIALS = [NAN, INFINITY, -INFINITY, -HIGHEST, HIGHEST, -0, SUBNORMAL]

/** Operands of elementwise functions. */
export const ELEMENTS: readonly number[] = [
  ...SPECIALS,
  ...[
    0,
    -SUBNORMAL,
    2 ** -149,
    LEAST_NORMAL,
    -LEAST_NORMAL,
    1,
    -1,
    0.5,
    -0.5,
    2,
    -2,
    3,
    -3,
    65,
    -65,
    100.5,
    -100.5,
    1e30,
    -1e30,
  ],
]

/** An ordinary number for a place, such that neighbours differ. */
function ordinary(i: number): number {
  return ((i * 7919) % 23) / 8 - 1.25
}

/** Places of a row where a tile or the row begins or ends; all places of a short row. */
function places(n: number): number[] {
  if (n <= 8) return Array.from({ length: n }, (_, i) => i)
  return [0, 1, 63, 64, 255, 256, n - 2, n - 1].filter((i) => i < n)
}

/**
 * Rows of n numbers with each special value at each of the `places`, rows of one special value alone, and rows of several in
 * both orders.
 */
export function specialRows(n: number): number[][] {
  const row = (set: (i: number) => number | undefined) => Array.from({ length: n }, (_, i) => set(i) ?? ordinary(i))
  const rows = [
    row(() => undefined),
    ...SPECIALS.flatMap((value) => places(n).map((at) => row((i) => (i === at ? value : undefined)))),
    ...SPECIALS.map((value) => row(() => value)),
    ...places(n).map((at) => row((i) => (i === at ? 1 : -INFINITY))),
    row((i) => [INFINITY, -INFINITY, NAN][i]),
    row((i) => [-INFINITY, INFINITY][i]),
    row((i) => (i >= n - 2 ? NAN : undefined)),
    row((i) => [-0, 0, -0][i] ?? -1),
  ]
  while (rows.length % 4 !== 0) rows.push(row(() => undefined))
  return rows
}

/** A case of a kernel with special values. */
export interface SpecialCase {
  kernel: string
  name: string
  problem: object
  /** Number of elements of each output, by name. */
  outputs: Record<string, number>
  /** Values of each input, by name. */
  inputs: Record<string, ArrayLike<number>>
  /**
   * Absolute tolerance for a finite number, in addition to the relative one of 1e-4 (float16: 2e-3); default the least normal
   * number.
   */
  tolerance?: number
  /** Whether zeros must have their sign. */
  signs?: boolean
  /**
   * Whether pipelines take seconds to compile. `npm test` then runs each source once on the default device, and on others the variants that
   * they choose.
   */
  slow?: boolean
  /** Outputs that are not compared. */
  free?: readonly string[]
  /** The only variant to run, by its name where others have run on such values, or one that is not the kernel's own. */
  variant?: string | Variant<any>
}

const entriesByName = new Map(
  Object.values<readonly KernelEntry[]>(kernelFamilies).flatMap((family) => family.map((entry) => [entry.spec.name, entry])),
)

function roundHalf(value: number): number {
  return fromHalf(toHalf(Math.fround(value)))
}

/** A value with subnormals flushed to 0, as some drivers do. */
function flushed(value: number): number {
  return Math.abs(value) < LEAST_NORMAL ? value * 0 : value
}

/**
 * Registers a test for each variant that runs a case. A value passes if it is right with subnormal inputs kept, or flushed to
 * 0.
 */
export function testSpecial(
  on: KernelDevice,
  test: (title: string, body: () => Promise<void>) => void,
  special: SpecialCase,
): void {
  const entry = entriesByName.get(special.kernel)
  if (!entry) throw new Error(`there is no kernel ${special.kernel}`)
  const { spec, reference } = entry
  const sizes = Object.fromEntries(Object.entries(special.inputs).map(([name, values]) => [name, values.length]))
  const fills: Record<string, Fill> = {}
  for (const [name, values] of Object.entries(special.inputs)) fills[name] = (i) => values[i]!
  const problem = special.problem as Record<string, unknown>
  const kase: KernelCase = { name: special.name, problem, sizes: { ...special.outputs, ...sizes }, fills }
  const own = typeof special.variant === 'object' ? [special.variant] : undefined
  const variants = own ?? spec.variants.filter((variant) => runsOn(spec, variant, on.capabilities, problem))
  const chosen = chosenVariants(entry, on.capabilities)
  const half = spec.bindings.some((binding) => bindingDtype(binding, problem) === 'f16')
  if (variants.length === 0 && !spec.partial && (on.capabilities.f16 || !half))
    throw new Error(`no variant of ${spec.name} runs ${kase.name}`)
  for (const variant of variants) {
    if (typeof special.variant === 'string' && variant.name !== special.variant) continue
    // The default device runs the other variants, of those that are the same code the first.
    if (special.slow && pipelines === 'few' && !chosen.has(variant.name)) continue
    if (special.slow && pipelines && variants.find(({ source }) => source === variant.source) !== variant) continue
    test(`${spec.name}/${variant.name} ${kase.name}`, async () => {
      const memory = fillCase(spec, kase, GUARD)
      const expected = reference(kase.problem, arraysOf(spec, kase, memory))
      const operands = arraysOf(spec, kase, memory)
      const zeros: Arrays = {}
      for (const [name, values] of Object.entries(operands))
        zeros[name] = name in special.outputs ? values : values.map(flushed)
      const alternative = reference(kase.problem, zeros)
      const results = await launch(on, spec, variant, problem, memory)
      for (const binding of spec.bindings) {
        const bytes = results.get(binding.name)
        if (!bytes || special.free?.includes(binding.name)) continue
        const dtype = bindingDtype(binding, problem)
        const actual = valuesOf(dtype, bytes, kase.sizes[binding.name]!)
        const [want, or] = [expected[binding.name]!, alternative[binding.name]!]
        const round = dtype === 'f32' ? Math.fround : dtype === 'f16' ? roundHalf : (value: number) => value
        const relative = dtype === 'f16' ? 2e-3 : 1e-4
        for (let i = 0; i < actual.length; i++) {
          const close = (e: number) => agrees(actual[i]!, round(e), relative, special)
          if (!close(want[i]!) && !close(or[i]!)) throw new Error(describe(special, binding.name, i, actual[i]!, want[i]!))
        }
      }
    })
  }
}

function agrees(actual: number, expected: number, relative: number, { tolerance = LEAST_NORMAL, signs }: SpecialCase): boolean {
  if (!Number.isFinite(expected)) return Object.is(actual, expected)
  if (signs && expected === 0 && actual === 0) return Object.is(actual, expected)
  return Math.abs(actual - expected) <= relative * Math.abs(expected) + tolerance
}

function describe({ inputs }: SpecialCase, output: string, i: number, actual: number, expected: number): string {
  const of = Object.entries(inputs).flatMap(([name, values]) => (values.length > i ? [`${name} ${values[i]}`] : []))
  return `${output}[${i}] is ${actual}, expected ${expected}; there ${of.join(', ')}`
}
