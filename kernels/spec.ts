import type { LaunchStep } from './step.ts'

/** Element types of buffers. */
export type Scalar = 'f32' | 'f16' | 'i32' | 'u32'

export type ParamScalar = Exclude<Scalar, 'f16'>

/** Bytes of an element of each type. */
export const SCALAR_BYTES: Readonly<Record<Scalar, number>> = { f32: 4, f16: 2, i32: 4, u32: 4 }

/** The facts that a kernel may know of its device. It is plain data, so a spec can be read and tested without a device. */
export interface Capabilities {
  /** Whether this is a software driver, on which barriers and workgroup memory cost dearly. */
  software: boolean
  /** Whether private arrays are read lane by lane wherever an index is not a constant, as on SwiftShader. */
  gathersPrivate: boolean
  /** The smallest and the largest subgroup size that a pipeline may get; both are 0 where the device has no subgroups. */
  subgroupMinSize: number
  subgroupMaxSize: number
  f16: boolean
  /** Whether subgroups multiply 16 x 16 matrices of float16 with float32 sums (tensor cores). */
  subgroupMatrix: boolean
  /** The most invocations of one workgroup, and its largest size in x. */
  maxInvocations: number
  /** Bytes of workgroup memory. */
  maxWorkgroupMemory: number
  /** The most workgroups of one dispatch in each dimension. */
  maxWorkgroups: number
}

/** A storage buffer at `@group(0) @binding(i)`, where i is its index in the list. */
export interface Binding {
  name: string
  /** `read` becomes `var<storage, read>`, so drivers may overlap readers. */
  access: 'read' | 'read_write'
  /** The element type, or a function of the problem for kernels that take several types; `bindingDtype` evaluates it. */
  dtype: Scalar | ((problem: any) => Scalar)
  /** The parameter whose first word holds the index of the first element used, for kernels that bind a whole buffer. */
  offset?: string
  /** Whether the kernel alone uses it, so that nothing is known of what it holds afterwards. */
  scratch?: boolean
}

/**
 * One member of the `Params` struct at `@group(1) @binding(0) var<uniform>`. Members are packed in order as 4-byte words. A member
 * with a `length` is an array, declared as `array<vec4<…>, length / 4>`; its length is a multiple of 4 and its place is aligned to
 * 16 bytes.
 */
export interface Param {
  name: string
  type: ParamScalar
  length?: number
  /** Whether a problem may leave it out, which makes it 0. */
  optional?: boolean
  /** The parameter that holds how much this one grows from branch to branch. */
  branchStep?: string
}

/** Scalar parameters of one type, in order. */
export function scalars(type: ParamScalar, ...names: readonly string[]): Param[] {
  return names.map((name) => ({ name, type }))
}

/** Bindings that a kernel only reads, in order. */
export function reads(dtype: Binding['dtype'], ...names: readonly string[]): Binding[] {
  return names.map((name) => ({ name, access: 'read', dtype }))
}

/** Bindings that a kernel writes, in order. */
export function writes(dtype: Binding['dtype'], ...names: readonly string[]): Binding[] {
  return names.map((name) => ({ name, access: 'read_write', dtype }))
}

/**
 * The parameter `strides: array<vec4<u32>, count / 4>`, which lets one dispatch do the work of m sibling dispatches, its branches. It
 * holds for each binding, in order, the elements from one branch's operand to the next one's: 0 where the branches share it, a
 * multiple of 64 where a binding starts. The branch is `workgroup_id.z`, so a grid leaves z at 1. The parameter comes first because
 * of its alignment.
 */
export function branchStrides(bindings: number): Param {
  return { name: 'strides', type: 'u32', length: 4 * Math.ceil(bindings / 4), optional: true }
}

/** Values for `specialize()`: the right-hand sides of `const` and `alias` declarations by name. */
export type Constants = Record<string, number | boolean | string>

export type Grid = [x: number, y: number, z: number]

/** One algorithm for a kernel: a WGSL file and how to launch it. The problem P holds every parameter by name, and what else decides. */
export interface Variant<P> {
  name: string
  /** The text of the `.wgsl` file, which is legal WGSL as it stands. */
  source: string
  /** Whether this variant can run this problem on such a device; it always can where this is absent. */
  supports?(device: Capabilities, problem: P): boolean
  /** Declarations to replace. Distinct values compile to distinct pipelines, so they should be few. */
  constants?(problem: P, device: Capabilities): Constants
  /** The workgroups to launch in x, y and z. */
  grid(problem: P, constants: Constants): Grid
}

/** A kernel: one computation, its interface, and the variants that do it. */
export interface KernelSpec<P = any> {
  name: string
  bindings: readonly Binding[]
  params: readonly Param[]
  /** The variants that the autotuner chooses from. Other launch parameters of the same source make another variant. */
  variants: readonly Variant<P>[]
  /** Whether some devices, or problems, have no variant. What launches the kernel asks first, and has others for them. */
  partial?: boolean
  /** The variant to take where none is pinned or tuned; without it, the first that supports the problem. */
  choose?(device: Capabilities, problem: P): string
  /** The dispatches that together do the work of a problem, in order; without it the problem is one. */
  launches?(problem: P): readonly P[]
  /**
   * At most 8 numbers that decide which variant is fastest. The autotuner rounds each to a half of a power of two, and problems that
   * round alike share an answer. The default is every scalar u32 parameter that is required and is not an offset.
   */
  shapeClass?(problem: P): readonly number[]
  /** The step of a chain that does the work of a problem, with the same bits; undefined where there is none. */
  chainStep?(problem: P): LaunchStep | undefined
  /** The floating-point operations; a fused multiply-add counts two. */
  flops(problem: P): number
  /** The bytes that must cross the memory bus at least once. */
  bytes(problem: P): number
}

/** How a case fills an input: numbers from a seeded generator, or a function of the index and such a generator. */
export type Fill = 'normal' | 'uniform' | ((index: number, random: () => number) => number)

/** One problem of a kernel. The same list drives the tests and the benches. */
export interface KernelCase<P = any> {
  name: string
  problem: P
  /** The elements of every binding by name, offsets included. */
  sizes: Record<string, number>
  /** How inputs are filled, by default 'normal'. A `read_write` binding starts with these values where it is listed, else with poison. */
  fills?: Record<string, Fill>
  /** The largest norm-relative error against float64: by default 1e-5, for float16 1e-3. */
  tolerance?: number
  /** Whether the case is a size for the benches, which tests leave out. */
  bench?: boolean
}

/** The inputs and outputs of a reference: float64 values by binding name. */
export type Arrays = Record<string, Float64Array>

/** A kernel with its reference and its cases, which tests compare it on. */
export interface KernelEntry<P = any> {
  spec: KernelSpec<P>
  cases: readonly KernelCase<P>[]
  /**
   * Plain float64 loops that take copies of all bindings and return the expected outputs as whole buffers. Elements that the kernel
   * must leave alone are returned unchanged, NaN poison included.
   */
  reference(problem: P, arrays: Arrays): Arrays
}

/** The problems of the dispatches that together do the work of one. */
export function launchesOf<P>(spec: KernelSpec<P>, problem: P): readonly P[] {
  return spec.launches?.(problem) ?? [problem]
}

/** The element type of a binding in a problem. */
export function bindingDtype<P>({ dtype }: Binding, problem: P): Scalar {
  return typeof dtype === 'function' ? dtype(problem) : dtype
}

/**
 * Whether a variant runs a problem on a device. A problem with float16 in a binding needs a device that has it; a variant that uses
 * float16 only inside says so itself.
 */
export function runsOn<P>(spec: KernelSpec<P>, variant: Variant<P>, device: Capabilities, problem: P): boolean {
  const half = spec.bindings.some((binding) => bindingDtype(binding, problem) === 'f16')
  return (device.f16 || !half) && (variant.supports?.(device, problem) ?? true)
}

/** The number of 4-byte words of a parameter block. */
export function paramWords(params: readonly Param[]): number {
  return params.reduce((words, { length = 1 }) => words + length, 0)
}

/** The first word of each parameter in a parameter block. */
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
 * Writes a problem's parameters into one memory that is seen as u32, i32 and f32.
 * @param offset the first word to write
 * @throws Error when a parameter is missing or does not fit its type
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

/** Spreads workgroups over x and y. Kernels number them `wid.y * num_workgroups.x + wid.x` and return early past the end. */
export function grid1d(workgroups: number): Grid {
  const limit = 65535
  if (workgroups <= limit) return [workgroups, 1, 1]
  const y = Math.ceil(workgroups / limit)
  return [Math.ceil(workgroups / y), y, 1]
}

export function ceilDiv(a: number, b: number): number {
  return Math.floor((a + b - 1) / b)
}
