import { type Capabilities, type Constants, ceilDiv, type Grid, grid1d, type Variant } from './spec.ts'

/** A tensor viewed as [outer, n, inner] around one axis of n elements. It has outer * inner lines of n elements that lie `inner` apart. */
export interface AxisView {
  outer: number
  n: number
  inner: number
}

/** The threads of a workgroup of kernels that give each thread its own line. */
const THREADS = 64
/** The threads of a workgroup where lines are few: a software device runs a workgroup on one core, so there must be several. */
const FEW_THREADS = 8
const FEW = 512
/** The longest chain of additions that is not cut. Its rounding error is at most 8e-7. */
const LONG_CHAIN = 48

/** How many neighbours an `Element` holds along a row, and its type. */
export type RowVector = { ROW_VEC: 1 | 4; Element: string }

/** An `Element` is a vec4 where all these offsets and lengths are multiples of 4. */
export function rowVector(...counts: readonly number[]): RowVector {
  return counts.every((count) => count % 4 === 0) ? { ROW_VEC: 4, Element: 'vec4<f32>' } : { ROW_VEC: 1, Element: 'f32' }
}

/**
 * The constants of a kernel with a thread for each line. Where the sizes allow, an `Element` holds 4 neighbours of a contiguous line
 * (`ROW_VEC`), or the same place of 4 neighbouring lines (`LINE_VEC`).
 */
export function lineConstants({ outer, n, inner }: AxisView): Constants & { Element: string } {
  const { ROW_VEC: width, Element } = rowVector(inner === 1 ? n : inner)
  const [rowVec, lineVec] = inner === 1 ? [width, 1] : [1, width]
  return {
    WORKGROUP: threadsFor((outer * inner) / lineVec),
    ...elementSums(n / rowVec),
    ROW_VEC: rowVec,
    LINE_VEC: lineVec,
    Element,
  }
}

/** The elements of a line that one turn of a loop takes, where the line has `elements`. */
export function unroll(elements: number): number {
  return elements % 2 === 0 ? 2 : 1
}

/** How a thread adds up the elements of a line: in one chain, in up to 8 blocks of such chains (LONG), or in levels (LEVELS). */
export function elementSums(elements: number): { UNROLL: number; LONG: boolean; LEVELS: boolean } {
  const UNROLL = unroll(elements)
  const turns = elements / UNROLL
  return { UNROLL, LONG: isLong(turns), LEVELS: turns > 8 * LONG_CHAIN }
}

/** Whether a chain of so many additions loses digits, so that it is cut. */
export function isLong(additions: number): boolean {
  return additions > LONG_CHAIN
}

/** The workgroup size of kernels with a thread for each line. */
export function threadsFor(lines: number): number {
  return lines < FEW ? FEW_THREADS : THREADS
}

/** The grid of a kernel with a thread for each line and the constants of `lineConstants`. */
export function lineGrid({ outer, inner }: AxisView, { WORKGROUP, LINE_VEC }: Constants): Grid {
  return grid1d(ceilDiv((outer * inner) / Number(LINE_VEC), Number(WORKGROUP)))
}

/** The constants of a kernel with a workgroup for each line. */
export function groupConstants(n: number, vector: RowVector): Constants {
  const elements = n / vector.ROW_VEC
  const workgroup = elements <= 128 ? 64 : 256
  return { WORKGROUP: workgroup, LONG: isLong(elements / workgroup), ...vector }
}

/** The variants `workgroup` and `subgroup`, which differ in how the threads of a workgroup add up. */
export function groupVariants<P>(
  sources: { workgroup: string; subgroup: string },
  constants: (problem: P) => Constants,
  grid: (problem: P, constants: Constants) => Grid,
): Variant<P>[] {
  return [
    { name: 'workgroup', source: sources.workgroup, constants, grid },
    { name: 'subgroup', source: sources.subgroup, supports: (device) => device.subgroupMaxSize > 0, constants, grid },
  ]
}

/** Chooses among `direct`, with a thread for each line, and the variants of `groupVariants`, with a workgroup for each line. */
export function chooseForLines(device: Capabilities, lines: number, n: number): string {
  const reduced = device.subgroupMaxSize > 0 ? 'subgroup' : 'workgroup'
  // A barrier costs a software device more than idle cores do. Only a single long line gains from a workgroup.
  if (device.software) return lines === 1 && n >= 32768 ? reduced : 'direct'
  // A short line leaves most of a workgroup idle. A reduction by subgroups waits at one barrier, a tree at nine, and both leave a GPU all
  // its waves (RDNA 3, by its compiler: 48 and 12 vector registers).
  return n <= 32 ? 'direct' : reduced
}
