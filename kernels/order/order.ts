import { type Capabilities, ceilDiv, grid1d, type KernelSpec, reads, type Scalar, scalars, writes } from '../spec.ts'
import mergeSource from './merge.wgsl'
import runsDirect from './runsDirect.wgsl'
import runsWorkgroup from './runsWorkgroup.wgsl'
import selectSource from './select.wgsl'

/** How elements are ordered along the middle axis of [outer, n, inner]. Equal ones keep their order. */
export interface Order {
  outer: number
  n: number
  inner: number
  dtype: Scalar
  descending: boolean
  /** Whether NaN comes first; else it comes last, in both directions. */
  nanFirst: boolean
}

/** The run that a thread sorts in registers. */
const REGISTERS = 16
/** The longest run that a workgroup sorts in its memory. */
const LONGEST_RUN = 1024

const orderFlags = ({ dtype, descending, nanFirst }: Order) => ({
  FLOAT: dtype === 'f32',
  DESCENDING: descending,
  NAN_FIRST: nanFirst,
})

const lines = ({ outer, inner }: Order) => outer * inner

/** Elements as pairs of two words, key and index. */
const pairsIn = (...names: string[]) => reads('u32', ...names)
const pairsOut = (...names: string[]) => writes('u32', ...names)

export interface SortRuns extends Order {
  /** The elements of a run: 16, or for workgroups a power of two up to 1024. */
  run: number
  /** How many of each run are kept, `run` for all. */
  keep: number
  /** Whether elements are pairs of an earlier pass. */
  pairs: boolean
  /** Whether a run holds a whole line, whose indices are the result. */
  last: boolean
}

/** Sorted runs of a line: pairs of key and index, of which each run keeps some; or, where one run holds the line, its indices. */
export const sortRuns: KernelSpec<SortRuns> = {
  name: 'sortRuns',
  bindings: [
    ...reads(({ dtype }: Order) => dtype, 'x'),
    ...pairsIn('before'),
    ...pairsOut('pairs'),
    ...writes('i32', 'indices'),
  ],
  params: scalars('u32', 'outer', 'n', 'inner', 'keep'),
  variants: [
    {
      name: 'direct',
      source: runsDirect,
      supports: (_, { run, keep, pairs }) => run === REGISTERS && keep === run && !pairs,
      constants: (problem, device) => ({ ...orderFlags(problem), LAST: problem.last, WORKGROUP: device.software ? 8 : 64 }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(lines(problem) * ceilDiv(problem.n, REGISTERS), Number(WORKGROUP))),
    },
    {
      name: 'workgroup',
      source: runsWorkgroup,
      supports: (device, { run }) => device.maxInvocations >= Math.min(run / 2, 256),
      constants: (problem) => ({
        ...orderFlags(problem),
        LAST: problem.last,
        PAIRS: problem.pairs,
        RUN: problem.run,
        WORKGROUP: Math.min(problem.run / 2, 256),
      }),
      grid: (problem) => grid1d(lines(problem) * ceilDiv(problem.n, problem.run)),
    },
  ],
  choose: (_, { run, keep, pairs }) => (run === REGISTERS && keep === run && !pairs ? 'direct' : 'workgroup'),
  shapeClass: ({ outer, n, inner, run, keep }) => [outer, n, inner, run, keep],
  flops: (problem) => lines(problem) * problem.n * Math.log2(problem.run) ** 2,
  bytes: (problem) => 12 * lines(problem) * problem.n,
}

/** The runs that a device sorts at once in lines of n elements. */
export function runLength(device: Capabilities, n: number): number {
  if (device.software || n <= REGISTERS || device.maxInvocations < 256) return REGISTERS
  return Math.min(LONGEST_RUN, 2 ** Math.ceil(Math.log2(n)))
}

export interface MergeRuns extends Pick<Order, 'outer' | 'n' | 'inner'> {
  /** The pairs of a sorted run. */
  run: number
  /** Whether two runs hold a whole line, whose indices are the result. */
  last: boolean
}

/** merged: every two neighbouring runs of the pairs [outer * inner, n] as one; or, where they hold a line, its indices. */
export const mergeRuns: KernelSpec<MergeRuns> = {
  name: 'mergeRuns',
  bindings: [...pairsIn('pairs'), ...pairsOut('merged'), ...writes('i32', 'indices')],
  params: scalars('u32', 'outer', 'n', 'inner', 'run'),
  variants: [
    {
      name: 'direct',
      source: mergeSource,
      // A segment lies within two runs.
      constants: ({ last }, device) => ({ LAST: last, SEGMENT: device.software ? 32 : 8 }),
      grid: ({ outer, n, inner }, { SEGMENT }) => grid1d(ceilDiv(outer * inner * ceilDiv(n, Number(SEGMENT)), 64)),
    },
  ],
  flops: ({ outer, n, inner }) => outer * inner * n,
  bytes: ({ outer, n, inner }) => 16 * outer * inner * n,
}

export interface SelectTop extends Order {
  /** How many are kept, at most 32. */
  k: number
  /** The threads of a line. */
  chunks: number
  pairs: boolean
  last: boolean
}

/** The most that threads keep in registers. */
export const MOST_SELECTED = 32

/** The first k in order that each thread of a line finds: pairs [outer * inner, chunks, k]; or, where it has one thread, their indices. */
export const selectTop: KernelSpec<SelectTop> = {
  name: 'selectTop',
  bindings: [
    ...reads(({ dtype }: Order) => dtype, 'x'),
    ...pairsIn('before'),
    ...pairsOut('pairs'),
    ...writes('i32', 'indices'),
  ],
  params: scalars('u32', 'outer', 'n', 'inner', 'k', 'chunks'),
  variants: [
    {
      name: 'direct',
      source: selectSource,
      constants: (problem, device) => ({
        ...orderFlags(problem),
        LAST: problem.last,
        PAIRS: problem.pairs,
        QUADS: [1, 2, 4, 8].find((quads) => 4 * quads >= problem.k)!,
        WORKGROUP: device.software ? 8 : 64,
      }),
      grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(lines(problem) * problem.chunks, Number(WORKGROUP))),
    },
  ],
  flops: (problem) => lines(problem) * problem.n,
  bytes: (problem) => 4 * lines(problem) * problem.n,
}

/** The threads that look at a line of n elements, of which each keeps k. One is enough where the lines keep the device busy. */
export function selectChunks(problem: Order, k: number): number {
  const wanted = ceilDiv(64, lines(problem))
  return Math.max(1, Math.min(wanted, Math.floor(problem.n / (8 * k))))
}
