/** Element types of buffers. */
export type Scalar = 'f32' | 'f16' | 'i32' | 'u32'

/** Element types of parameters. */
export type ParamScalar = Exclude<Scalar, 'f16'>

/** Bytes of an element. */
export const SCALAR_BYTES: Readonly<Record<Scalar, number>> = { f32: 4, f16: 2, i32: 4, u32: 4 }

/** What a kernel may know of the device it runs on; plain data, so that a spec can be read and tested without one. */
export interface Capabilities {
  /** A software driver (no real GPU): barriers and workgroup memory cost dearly there. */
  software: boolean
  /** Private arrays are read lane by lane wherever an index is no constant (SwiftShader). */
  gathersPrivate: boolean
  /** Smallest and largest subgroup size a pipeline may get; both 0 when the device has no subgroups. */
  subgroupMinSize: number
  subgroupMaxSize: number
  f16: boolean
  /** Subgroups multiply 16 x 16 matrices of float16 with float32 sums (tensor cores). */
  subgroupMatrix: boolean
  /** Invocations of one workgroup, and its size in x, at most. */
  maxInvocations: number
  /** Bytes of workgroup memory. */
  maxWorkgroupMemory: number
  /** Workgroups of one dispatch in each dimension, at most. */
  maxWorkgroups: number
}

/** A storage buffer at `@group(0) @binding(i)`, i being its place in the list. */
export interface Binding {
  name: string
  /** `read` becomes `var<storage, read>`: drivers may then overlap readers. */
  access: 'read' | 'read_write'
  /** A function where the problem decides, as for kernels that take float32 or float16; `bindingDtype` gives it. */
  dtype: Scalar | ((problem: any) => Scalar)
  /** The parameter (its first word, where it is an array) that holds the first element used, for kernels that bind a whole buffer. */
  offset?: string
}

/**
 * One member of the `Params` struct at `@group(1) @binding(0) var<uniform>`, packed in order as 4-byte words. `length` makes
 * it an array: a multiple of 4, declared `array<vec4<…>, length / 4>` and placed where 16 bytes are aligned.
 */
export interface Param {
  name: string
  type: ParamScalar
  length?: number
  /** May be left out of a problem: it is 0 then. */
  optional?: boolean
  /** The parameter that holds how much this one grows from branch to branch, for kernels that take it. */
  branchStep?: string
}

/**
 * The parameter `strides: array<vec4<u32>, count / 4>`, which lets one dispatch do the work of m sibling dispatches ("branches"): for
 * every binding, in order, the elements from one branch's operand to the next one's (0 where they share it; a multiple of 64
 * where a binding starts). The branch is `workgroup_id.z`; a grid therefore leaves z at 1. Comes first, for its alignment.
 */
export function branchStrides(bindings: number): Param {
  return { name: 'strides', type: 'u32', length: 4 * Math.ceil(bindings / 4), optional: true }
}

/** Values for `specialize()`: the right-hand side of a named `const`, `override`-free, or `alias`. */
export type Constants = Record<string, number | boolean | string>

export type Grid = [x: number, y: number, z: number]

/** One algorithm for a kernel: a WGSL file and how to launch it. P is the problem: every parameter by name, and what else decides. */
export interface Variant<P> {
  name: string
  /** Text of the `.wgsl` file; legal as it stands. */
  source: string
  /** Whether this variant can run this problem on such a device; absent means always. */
  supports?(device: Capabilities, problem: P): boolean
  /** Declarations to replace; distinct values compile to distinct pipelines, so keep them few. */
  constants?(problem: P, device: Capabilities): Constants
  /** Workgroups to launch. */
  grid(problem: P, constants: Constants): Grid
}

/** A kernel: one computation, its interface, and the variants that do it. */
export interface KernelSpec<P = any> {
  name: string
  bindings: readonly Binding[]
  params: readonly Param[]
  /** What the autotuner chooses from; other launch parameters of the same source are variants too. */
  variants: readonly Variant<P>[]
  /** The variant to take where nothing was pinned or tuned; default the first that supports the problem. */
  choose?(device: Capabilities, problem: P): string
  /**
   * The numbers, up to 8, that decide which variant is fastest: the autotuner rounds each to a half of a power of two, and what
   * rounds alike shares an answer. Default: every scalar u32 parameter that must be given and is no offset.
   */
  shapeClass?(problem: P): readonly number[]
  /** Floating-point operations (a fused multiply-add counts two). */
  flops(problem: P): number
  /** Bytes that must cross the memory bus at least once. */
  bytes(problem: P): number
}

/** How a case fills an input: numbers drawn from a seeded generator, or a function of the index. */
export type Fill = 'normal' | 'uniform' | ((index: number, random: () => number) => number)

/** One shape of a kernel; the same list drives the tests and the benches. */
export interface KernelCase<P = any> {
  name: string
  problem: P
  /** Elements of every binding, by name (inputs and outputs), offsets included. */
  sizes: Record<string, number>
  /** How inputs are filled; default 'normal'. A `read_write` binding listed here starts with these values, else it is poisoned. */
  fills?: Record<string, Fill>
  /** Largest norm-relative error against float64; default 1e-5, for float16 1e-3. */
  tolerance?: number
  /** A size for the benches (large); tests leave it out unless `small` devices can take it. */
  bench?: boolean
}

/** Inputs and outputs of a reference: float64 values by binding name. */
export type Arrays = Record<string, Float64Array>

/** A kernel with what proves it. `reference` gets copies of all bindings and returns the expected outputs, whole buffers. */
export interface KernelEntry<P = any> {
  spec: KernelSpec<P>
  cases: readonly KernelCase<P>[]
  /** Plain float64 loops; elements that the kernel must leave alone are returned unchanged (NaN poison included). */
  reference(problem: P, arrays: Arrays): Arrays
}

/** The element type of a binding in a problem. */
export function bindingDtype<P>({ dtype }: Binding, problem: P): Scalar {
  return typeof dtype === 'function' ? dtype(problem) : dtype
}

/**
 * Whether a variant runs a problem on a device. Problems with float16 in a binding need a device that has it; variants with float16
 * inside say so themselves.
 */
export function runsOn<P>(spec: KernelSpec<P>, variant: Variant<P>, device: Capabilities, problem: P): boolean {
  const half = spec.bindings.some((binding) => bindingDtype(binding, problem) === 'f16')
  return (device.f16 || !half) && (variant.supports?.(device, problem) ?? true)
}

/** Number of 4-byte words of a parameter block. */
export function paramWords(params: readonly Param[]): number {
  return params.reduce((words, { length = 1 }) => words + length, 0)
}

/** Where in a parameter block each parameter begins, in words. */
export function paramWordsByName(params: readonly Param[]): Map<string, { word: number; type: ParamScalar }> {
  let word = 0
  return new Map(
    params.map(({ name, type, length = 1 }) => {
      word += length
      return [name, { word: word - length, type }]
    }),
  )
}

/**
 * Writes a problem's parameters at `offset` (in words) of one memory seen as u32, i32 and f32.
 * @throws Error when a parameter is missing, or does not fit its type
 */
export function packParams(
  params: readonly Param[],
  problem: Record<string, unknown>,
  into: { u32: Uint32Array; i32: Int32Array; f32: Float32Array },
  offset: number,
): void {
  let at = offset
  for (const { name, type, length, optional } of params) {
    const view = into[type]
    const value = problem[name] ?? (optional ? (length === undefined ? 0 : []) : undefined)
    if (length === undefined) {
      if (typeof value !== 'number' || !fits(value, type)) throw new Error(`parameter ${name} = ${value} is not a ${type}`)
      view[at++] = value
    } else {
      if (!Array.isArray(value) || value.length > length || !value.every((v) => fits(v, type))) {
        throw new Error(`parameter ${name} = ${value} is not up to ${length} numbers of ${type}`)
      }
      for (let i = 0; i < length; i++) view[at + i] = value[i] ?? 0
      at += length
    }
  }
}

function fits(value: number, type: ParamScalar): boolean {
  if (type === 'f32') return true
  const [least, most] = type === 'u32' ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1]
  return Number.isInteger(value) && value >= least && value <= most
}

/**
 * Spreads a count of workgroups over x and y, for kernels that number them `wid.y * num_workgroups.x + wid.x` and return
 * early past the end.
 */
export function grid1d(workgroups: number): Grid {
  const limit = 65535
  if (workgroups <= limit) return [workgroups, 1, 1]
  const y = Math.ceil(workgroups / limit)
  return [Math.ceil(workgroups / y), y, 1]
}

/** ceil(a / b) for counts. */
export function ceilDiv(a: number, b: number): number {
  return Math.floor((a + b - 1) / b)
}
