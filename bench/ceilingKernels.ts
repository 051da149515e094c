import { grid1d, type KernelSpec, type Variant } from '../kernels/spec.ts'
import copyWgsl from './ceilings/copy.wgsl'
import fmaWgsl from './ceilings/fma.wgsl'
import matrixWgsl from './ceilings/matrix.wgsl'
import readWgsl from './ceilings/read.wgsl'
import touchWgsl from './ceilings/touch.wgsl'
import updateWgsl from './ceilings/update.wgsl'
import writeWgsl from './ceilings/write.wgsl'

/** Threads of a workgroup of `fma`. */
export const FMA_THREADS = 64

/** The problem of `fma`. */
export interface Fma {
  /** Multiply-adds of each chain, a multiple of 8. */
  rounds: number
  threads: number
}

/**
 * Multiply-adds of vec4s. Each variant runs a number of independent chains in a thread, with the built-in `fma` or with a
 * product and a sum.
 */
export const fma: KernelSpec<Fma> = {
  name: 'ceilingFma',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [{ name: 'rounds', type: 'u32' }],
  variants: [2, 4, 8].flatMap((chains) => [fmaVariant(chains, true), fmaVariant(chains, false)]),
  // These are the operations of one chain; `chainsOf` gives the number of chains of a variant.
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

/** Returns the number of chains of a variant of `fma` or `matrix`, which its name begins with. */
export function chainsOf({ name }: { name: string }): number {
  return Number.parseInt(name, 10)
}

/** Threads of a workgroup of `matrix`. */
export const MATRIX_THREADS = 128

/** The problem of `matrix`. */
export interface Matrix {
  /** Products that each sum adds up. */
  rounds: number
  workgroups: number
  /** Threads of the largest and of the smallest subgroup of the device. */
  subgroupMaxSize: number
  subgroupMinSize: number
}

/** Returns the largest number of subgroups that a workgroup of `matrix` may have. */
export function matrixRoom({ subgroupMinSize }: Matrix): number {
  return MATRIX_THREADS / subgroupMinSize
}

/** Products of 16 x 16 matrices, computed by subgroups. Each variant adds to another number of sums, its chains. */
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
  // These are the operations of one sum; `chainsOf` gives the number of sums of a variant.
  flops: ({ rounds, workgroups, subgroupMaxSize }) => rounds * workgroups * (MATRIX_THREADS / subgroupMaxSize) * 16 ** 3 * 2,
  bytes: () => 0,
}

/** The problem of `copy`, `read`, `write` and `update`. */
export interface Memory {
  /** Number of vec4s. */
  count: number
  /** The value that `write` writes and `update` raises to. */
  value: number
}

/** GPUs want many threads. On lavapipe a few threads with much to do come near a memcpy, and many are a fifth as fast. */
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

/** Copies vec4s. */
export const copy: KernelSpec<Memory> = {
  name: 'ceilingCopy',
  bindings: [source, target],
  params: [{ name: 'count', type: 'u32' }],
  variants: memoryVariants(copyWgsl),
  flops: () => 0,
  bytes: ({ count }) => count * 32,
}

/** Reads vec4s. `bytes` leaves out the one vec4 that each thread writes. */
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

/** Writes one value to all vec4s. */
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

/** Updates vec4s in place. */
export const update: KernelSpec<Memory> = {
  name: 'ceilingUpdate',
  bindings: [target],
  params: [
    { name: 'count', type: 'u32' },
    { name: 'value', type: 'f32' },
  ],
  variants: memoryVariants(updateWgsl),
  flops: () => 0,
  bytes: ({ count }) => count * 32,
}

/** A dispatch of one thread, whose time is the cost of dispatching. */
export const touch: KernelSpec<{ step: number }> = {
  name: 'ceilingTouch',
  bindings: [{ name: 'y', access: 'read_write', dtype: 'u32' }],
  params: [{ name: 'step', type: 'u32' }],
  variants: [{ name: 'one', source: touchWgsl, grid: () => [1, 1, 1] }],
  flops: () => 1,
  bytes: () => 8,
}
