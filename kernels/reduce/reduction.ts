import { type Capabilities, type Constants, ceilDiv, grid1d, type Param, scalars, type Variant } from '../spec.ts'

/**
 * A reduction along the middle axis of [outer, n, inner], whose elements lie at
 * `offset + o * outerStride + k * nStride + i * innerStride`. The axis is cut into `chunks` pieces of `chunk` elements, of which the last
 * may be shorter, and each is reduced on its own. The output is [outer, chunks, inner], row-major. `chunk = n` reduces the whole axis.
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

export const reductionParams: readonly Param[] = scalars(
  'u32',
  ...['outer', 'n', 'inner', 'chunk', 'chunks', 'offset', 'outerStride', 'nStride', 'innerStride'],
)

/** The reduction of a row-major [outer, n, inner] in one piece. */
export function rowMajor(outer: number, n: number, inner: number): Reduction {
  return { outer, n, inner, chunk: n, chunks: 1, offset: 0, outerStride: n * inner, nStride: inner, innerStride: 1 }
}

/** Returns the reduction in pieces of `chunk` elements. */
export function withChunk<R extends Reduction>(reduction: R, chunk: number): R {
  return { ...reduction, chunk, chunks: ceilDiv(reduction.n, chunk) }
}

/** The number of elements of the output. */
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

/** The threads of a workgroup of the variants with a thread for each output: few on a software device, where outputs may be few. */
function directThreads(device: Capabilities): number {
  return device.software ? 8 : 64
}

/** Whether a device has the workgroups of 256 that the `workgroup` variants take. */
function hasWorkgroups(device: Capabilities): boolean {
  return device.maxInvocations >= 256
}

/** The sources and constants in which the variants of one reduction differ from those of another. */
interface Variants<P extends Reduction> {
  direct: string
  rows: string
  workgroup: string
  /** The constants of `direct`; a thread takes WIDTH outputs. */
  directConstants(problem: P): Constants & { WIDTH: number }
  /** The constants of `directRows`. */
  rowConstants: Constants
  /** The constants of `workgroup`; a thread takes WIDTH outputs, or one where that is left out. */
  groupConstants(problem: P): Constants
}

/**
 * `direct` has a thread for each output, `directRows` one that reads vec4s along the axis, and `workgroup` a workgroup of 256 threads for
 * a number of COLUMNS, which are neighbours in memory wherever possible.
 */
export function reductionVariants<P extends Reduction>(kernel: Variants<P>): Variant<P>[] {
  return [
    {
      name: 'direct',
      source: kernel.direct,
      constants: (problem, device) => ({ ...kernel.directConstants(problem), WORKGROUP: directThreads(device) }),
      grid: (problem, { WIDTH, WORKGROUP }) => grid1d(ceilDiv(outputs(problem) / Number(WIDTH), Number(WORKGROUP))),
    },
    {
      name: 'directRows',
      source: kernel.rows,
      supports: (_, problem) => vec4Rows(problem),
      constants: (_, device) => ({ ...kernel.rowConstants, WORKGROUP: directThreads(device) }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(outputs(problem), Number(WORKGROUP))),
    },
    {
      name: 'workgroup',
      source: kernel.workgroup,
      supports: hasWorkgroups,
      constants: (problem) => {
        const columns = problem.nStride === 1 || problem.inner === 1 ? 1 : 32
        return { ...kernel.groupConstants(problem), COLUMNS: columns, LANES: 256 / columns }
      },
      grid: ({ outer, chunks, inner }, { WIDTH = 1, COLUMNS }) =>
        grid1d(outer * chunks * ceilDiv(inner / Number(WIDTH), Number(COLUMNS))),
    },
  ]
}

/**
 * Names the variant to take. A thread for each output suits a software device, short pieces, and outputs that fill a GPU and are neighbours
 * in memory.
 */
export function chooseReduction(device: Capabilities, r: Reduction): string {
  const direct = device.software || (r.inner >= 32 && r.innerStride === 1 && outputs(r) >= 65536) || r.chunk < 16
  if (!direct && hasWorkgroups(device)) return 'workgroup'
  return vec4Rows(r) ? 'directRows' : 'direct'
}

/**
 * The size of the pieces for a first pass, whose results a second pass reduces: there are as many pieces as keep the device busy, one
 * where the outputs alone do.
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
