import { hasVectorRows, isFlat, type NestProblem } from './layout.ts'
import { type Capabilities, type Constants, ceilDiv, type Grid, grid1d, type Variant } from './spec.ts'

/** Threads of a workgroup of the elementwise kernels. */
const THREADS = 64

/**
 * Neighbouring elements or vec4s that one thread takes. Starting a thread costs software devices more than its work; real
 * GPUs want neighbours in neighbouring threads.
 */
function runLength(device: Capabilities, onSoftware: number): number {
  return device.software ? onSoftware : 1
}

/**
 * Constants of the kernels that walk flat memory in vec4s, each workgroup an equal share of it with its threads side by side. On
 * software devices the threads of a workgroup run in lockstep as one vector, and few workgroups of one vector are best.
 */
export function flatConstants({ count }: { count: number }, device: Capabilities): Constants {
  return { WORKGROUP: device.software ? Math.max(8, device.subgroupMaxSize) : THREADS, TAIL: count % 4 !== 0 }
}

/** Workgroups enough for the cores of a software device, few enough that starting them costs nothing; on a GPU a vec4 a thread. */
export function flatGrid({ count }: { count: number }, { WORKGROUP }: Constants): Grid {
  const total = ceilDiv(count, 4)
  const most = ceilDiv(total, THREADS)
  return grid1d(WORKGROUP === THREADS ? most : Math.min(most, Math.max(64, ceilDiv(total, 4096))))
}

/** Which operands of a nest move along a row (1) and which stay in place (0). */
function stepConstants(operands: readonly string[], { walks }: NestProblem): Constants {
  return Object.fromEntries(operands.map((name, k) => [`${name.toUpperCase()}_STEP`, walks[k]!.step]))
}

/** The variant of a strided kernel for operands that are one run of neighbours in memory, or one element. */
export function flatVariant<P extends NestProblem>(
  source: string,
  operands: readonly string[],
  constants: (problem: P) => Constants,
): Variant<P> {
  return {
    name: 'flat',
    source,
    supports: (_, problem) => isFlat(problem),
    constants: (problem, device) => ({
      ...constants(problem),
      ...stepConstants(operands, problem),
      ...flatConstants({ count: problem.inner }, device),
    }),
    grid: ({ inner }, constants) => flatGrid({ count: inner }, constants),
  }
}

/** The vec4 variant of a strided kernel; the constants say which operands stay in place along a row. */
export function vectorVariant<P extends NestProblem>(
  source: string,
  operands: readonly string[],
  constants: (problem: P) => Constants,
): Variant<P> {
  return {
    name: 'vector',
    source,
    supports: (_, problem) => hasVectorRows(problem),
    constants: (problem, device) => ({
      ...constants(problem),
      ...stepConstants(operands, problem),
      RUN: runLength(device, 16),
    }),
    grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv(rows * ceilDiv(inner / 4, Number(RUN)), THREADS)),
  }
}

/** The variant of a strided kernel that takes any strides, element by element. */
export function stridedVariant<P extends { rows: number; inner: number }>(
  source: string,
  constants: (problem: P) => Constants,
): Variant<P> {
  return {
    name: 'strided',
    source,
    constants: (problem, device) => ({ ...constants(problem), RUN: runLength(device, 32) }),
    grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv(rows * ceilDiv(inner, Number(RUN)), THREADS)),
  }
}
