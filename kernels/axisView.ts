import { type Capabilities, type Constants, ceilDiv, type Grid, grid1d } from './spec.ts'

/**
 * A tensor viewed as [outer, n, inner] around one axis of n elements. A line is what runs along that axis: outer * inner
 * lines of n elements, `inner` apart.
 */
export interface AxisView {
  outer: number
  n: number
  inner: number
}

/** Threads of a workgroup for kernels that give each thread its own line or row. */
const THREADS = 64
/** The same where lines are few: a software device runs a workgroup on one core, so there must be several. */
const FEW_THREADS = 8
const FEW = 512
/** The longest chain of additions whose rounding is let be, at most 4e-6: shorter ones would cost rows of usual lengths 2 to 5 %. */
const LONG_CHAIN = 256

/**
 * Constants of a kernel with one thread a line: `Element` holds 4 neighbours of a line (`ROW_VEC`) where lines are
 * contiguous, or the same place of 4 neighbouring lines (`LINE_VEC`), where the sizes allow.
 */
export function lineConstants({ outer, n, inner }: AxisView): {
  WORKGROUP: number
  LONG: boolean
  ROW_VEC: number
  LINE_VEC: number
  UNROLL: number
  Element: string
} {
  const rowVec = inner === 1 && n % 4 === 0 ? 4 : 1
  const lineVec = inner % 4 === 0 ? 4 : 1
  return {
    WORKGROUP: threadsFor((outer * inner) / lineVec),
    LONG: isLong(n / rowVec),
    ROW_VEC: rowVec,
    LINE_VEC: lineVec,
    UNROLL: unroll(n / rowVec),
    Element: rowVec * lineVec === 4 ? 'vec4<f32>' : 'f32',
  }
}

/** Elements of a line that a turn of a loop takes, where it has `elements` in all. */
export function unroll(elements: number): number {
  return elements % 2 === 0 ? 2 : 1
}

/** Whether a thread adds up so many Elements that it must do so in levels. */
export function isLong(elements: number): boolean {
  return elements > LONG_CHAIN
}

/** Workgroup size for kernels with one thread a line. */
export function threadsFor(lines: number): number {
  return lines < FEW ? FEW_THREADS : THREADS
}

/** Grid of a kernel with one thread a line, its constants those of `lineConstants`. */
export function lineGrid({ outer, inner }: AxisView, { WORKGROUP, LINE_VEC }: Constants): Grid {
  return grid1d(ceilDiv((outer * inner) / Number(LINE_VEC), Number(WORKGROUP)))
}

/** Constants of a kernel with one workgroup a line. */
export function groupConstants({ n, inner }: Pick<AxisView, 'n' | 'inner'>): {
  WORKGROUP: number
  LONG: boolean
  ROW_VEC: number
  Element: string
} {
  const rowVec = inner === 1 && n % 4 === 0 ? 4 : 1
  const workgroup = n / rowVec <= 128 ? 64 : 256
  return {
    WORKGROUP: workgroup,
    LONG: isLong(n / rowVec / workgroup),
    ROW_VEC: rowVec,
    Element: rowVec === 4 ? 'vec4<f32>' : 'f32',
  }
}

/** Which of the variants `direct` (a thread a line), `workgroup` and `subgroup` (a workgroup a line) suits a device and a shape. */
export function chooseForLines(device: Capabilities, lines: number, n: number): string {
  const reduced = device.subgroupMaxSize > 0 ? 'subgroup' : 'workgroup'
  // On software devices a barrier costs more than idle cores; only one long line gains.
  if (device.software) return lines === 1 && n >= 32768 ? reduced : 'direct'
  // A short line would idle most of a workgroup.
  return n <= 32 ? 'direct' : reduced
}
