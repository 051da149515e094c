import { grid1d, type KernelSpec, type Variant } from '../kernels/spec.ts'
import copyWgsl from './ceilings/copy.wgsl'
import fmaWgsl from './ceilings/fma.wgsl'
import matrixWgsl from './ceilings/matrix.wgsl'
import readWgsl from './ceilings/read.wgsl'
import touchWgsl from './ceilings/touch.wgsl'
import writeWgsl from './ceilings/write.wgsl'

export const FMA_THREADS = 64

export interface Fma {
  rounds: number
  threads: number
}

/** Multiply-adds; a variant for each number of chains of vec4 in a thread, by the built-in or by a product and a sum. */
export const fma: KernelSpec<Fma> = {
  name: 'ceilingFma',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [{ name: 'rounds', type: 'u32' }],
  variants: [2, 4, 8].flatMap((chains) => [fmaVariant(chains, true), fmaVariant(chains, false)]),
  // Of one chain: a variant does as many as its name says, see `chainsOf`.
  flops: ({ rounds, threads }) => rounds * threads * 4 * 2,
  bytes: ({ threads }) => threads * 16,
}

function fmaVariant(chains: number, builtin: boolean): Variant<Fma> {
  return {
    name: `${chains} ${builtin ? 'fma' : 'mul, add'}`,
    source: fmaWgsl,
    constants: () => ({ BUILTIN: builtin, CHAINS: chains }),
    grid: ({ threads }) => [threads / FMA_THREADS, 1, 1],
  }
}

/** Chains of a variant of `fma` or `matrix`. */
export function chainsOf({ name }: { name: string }): number {
  return Number.parseInt(name, 10)
}

export const MATRIX_THREADS = 128

export interface Matrix {
  rounds: number
  workgroups: number
  /** Of the device, the largest and the smallest. */
  subgroupMaxSize: number
  subgroupMinSize: number
}

/** Subgroups of a workgroup at most. */
export function matrixRoom({ subgroupMinSize }: Matrix): number {
  return MATRIX_THREADS / subgroupMinSize
}

/** Products of 16 x 16 matrices by subgroups; a variant for each number of sums. */
export const matrix: KernelSpec<Matrix> = {
  name: 'ceilingMatrix',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f16' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [{ name: 'rounds', type: 'u32' }],
  variants: [4, 8, 16].map((chains) => ({
    name: `${chains} sums`,
    source: matrixWgsl,
    supports: ({ subgroupMatrix }) => subgroupMatrix,
    constants: (problem) => ({ CHAINS: chains, THREADS: MATRIX_THREADS, SUBGROUPS: matrixRoom(problem) }),
    grid: ({ workgroups }) => [workgroups, 1, 1],
  })),
  // Of one sum, as of `fma`.
  flops: ({ rounds, workgroups, subgroupMaxSize }) => rounds * workgroups * (MATRIX_THREADS / subgroupMaxSize) * 16 ** 3 * 2,
  bytes: () => 0,
}

export interface Memory {
  /** vec4s. */
  count: number
  /** What `write` writes. */
  value: number
}

/** GPUs want many threads; on lavapipe few with much to do come near a memcpy, and many are a fifth as fast. */
const SHAPES: readonly [threads: number, perThread: number][] = [
  [256, 1],
  [256, 4],
  [8, 256],
]

function memoryVariants(source: string, shapes: typeof SHAPES = SHAPES): Variant<Memory>[] {
  return shapes.map(([threads, perThread]) => ({
    name: `${threads} x ${perThread}`,
    source,
    constants: () => ({ THREADS: threads, PER_THREAD: perThread }),
    grid: ({ count }) => grid1d(Math.ceil(count / (threads * perThread))),
  }))
}

const source = { name: 'x', access: 'read', dtype: 'f32' } as const
const target = { name: 'y', access: 'read_write', dtype: 'f32' } as const

export const copy: KernelSpec<Memory> = {
  name: 'ceilingCopy',
  bindings: [source, target],
  params: [{ name: 'count', type: 'u32' }],
  variants: memoryVariants(copyWgsl),
  flops: () => 0,
  bytes: ({ count }) => count * 32,
}

/** Bytes written, a vec4 a thread, are not counted. */
export const read: KernelSpec<Memory> = {
  name: 'ceilingRead',
  bindings: [source, target],
  params: [{ name: 'count', type: 'u32' }],
  variants: memoryVariants(readWgsl, [
    [256, 4],
    [256, 16],
    [8, 256],
  ]),
  flops: ({ count }) => count * 4,
  bytes: ({ count }) => count * 16,
}

export const write: KernelSpec<Memory> = {
  name: 'ceilingWrite',
  bindings: [target],
  params: [
    { name: 'count', type: 'u32' },
    { name: 'value', type: 'f32' },
  ],
  variants: memoryVariants(writeWgsl),
  flops: () => 0,
  bytes: ({ count }) => count * 16,
}

/** A dispatch that costs nothing but being dispatched. */
export const touch: KernelSpec<{ step: number }> = {
  name: 'ceilingTouch',
  bindings: [{ name: 'y', access: 'read_write', dtype: 'u32' }],
  params: [{ name: 'step', type: 'u32' }],
  variants: [{ name: 'one', source: touchWgsl, grid: () => [1, 1, 1] }],
  flops: () => 1,
  bytes: () => 8,
}
