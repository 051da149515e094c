import type { Capabilities, Param } from '../spec.ts'
import { ceilDiv } from '../spec.ts'

/**
 * A reduction along the middle axis of [outer, n, inner], whose elements lie at
 * `offset + o * outerStride + k * nStride + i * innerStride`. The axis is cut into pieces of `chunk` elements (the last one
 * may be shorter), each reduced on its own: the output is [outer, ceil(n / chunk), inner], row-major. `chunk = n` reduces whole.
 */
export interface Reduction {
  outer: number
  n: number
  inner: number
  chunk: number
  chunks: number
  offset: number
  outerStride: number
  nStride: number
  innerStride: number
}

export const reductionParams: readonly Param[] = [
  { name: 'outer', type: 'u32' },
  { name: 'n', type: 'u32' },
  { name: 'inner', type: 'u32' },
  { name: 'chunk', type: 'u32' },
  { name: 'chunks', type: 'u32' },
  { name: 'offset', type: 'u32' },
  { name: 'outerStride', type: 'u32' },
  { name: 'nStride', type: 'u32' },
  { name: 'innerStride', type: 'u32' },
]

/** The reduction of a row-major [outer, n, inner] in one piece. */
export function rowMajor(outer: number, n: number, inner: number): Reduction {
  return { outer, n, inner, chunk: n, chunks: 1, offset: 0, outerStride: n * inner, nStride: inner, innerStride: 1 }
}

/** The same reduction in pieces of `chunk`. */
export function withChunk<R extends Reduction>(reduction: R, chunk: number): R {
  return { ...reduction, chunk, chunks: ceilDiv(reduction.n, chunk) }
}

/** Elements of the output. */
export function outputs({ outer, chunks, inner }: Reduction): number {
  return outer * chunks * inner
}

/** Whether four neighbouring outputs can be read and written as one vec4. */
export function vec4Columns(r: Reduction): boolean {
  return r.innerStride === 1 && [r.inner, r.offset, r.outerStride, r.nStride].every((value) => value % 4 === 0)
}

/** Whether four neighbours along the reduced axis can be read as one vec4. */
export function vec4Rows(r: Reduction): boolean {
  const innerStride = r.inner > 1 ? r.innerStride : 0
  return r.nStride === 1 && [r.n, r.chunk, r.offset, r.outerStride, innerStride].every((value) => value % 4 === 0)
}

/** Threads of a workgroup of the variants with a thread for each output: few on software devices, where outputs may be few. */
export function directThreads(device: Capabilities): number {
  return device.software ? 8 : 64
}

/** Columns of outputs that a workgroup of 256 of the `workgroup` variants takes: neighbours in memory wherever that can be. */
export function workgroupColumns(r: Reduction): number {
  return r.nStride === 1 || r.inner === 1 ? 1 : 32
}

/** Whether a `direct` variant: software devices, and outputs enough for a GPU to give each a thread, neighbours in memory. */
export function prefersDirect(device: Capabilities, r: Reduction): boolean {
  return device.software || (r.inner >= 32 && r.innerStride === 1 && outputs(r) >= 65536) || r.chunk < 16
}

/**
 * The size of the pieces for a first pass (a second one then reduces the pieces' results): as many as keep the device busy,
 * none where the outputs alone do.
 * @returns a multiple of 4, or n
 */
export function splitChunk(device: Capabilities, r: Reduction): number {
  const columns = vec4Columns(r) ? r.inner / 4 : r.inner
  const alone = r.outer * columns
  const along = r.nStride === 1
  const wanted = device.software ? 512 : along ? 1024 : 65536
  const shortest = along ? (device.software ? 1024 : 4096) : device.software ? 2048 : 64
  if (r.n < 2 * shortest || alone * 2 > wanted) return r.n
  const pieces = Math.min(ceilDiv(wanted, alone), Math.floor(r.n / shortest))
  const chunk = ceilDiv(ceilDiv(r.n, pieces), 4) * 4
  return Math.min(chunk, r.n)
}
