import { hasVectorRows, isFlat, type NestProblem } from './layout.ts'
import { type Capabilities, type Constants, ceilDiv, type Grid, grid1d, type Variant } from './spec.ts'

/** The threads of a workgroup of the elementwise kernels. */
const THREADS = 64

/**
 * The neighbouring elements or vec4s that one thread takes. A software device spends more on starting a thread than on its work; a real
 * GPU wants neighbours in neighbouring threads.
 */
function runLength(device: Capabilities, onSoftware: number): number {
  return device.software ? onSoftware : 1
}

/**
 * The constants of the kernels that walk flat memory in vec4s, where each workgroup takes an equal share with its threads side by side.
 * A software device runs the threads of a workgroup in lockstep as one vector, and few workgroups of one vector are the fastest there.
 */
function flatConstants(count: number, device: Capabilities, halves = false): Constants {
  const pairs = halves && !device.software && count % 8 === 0
  return {
    WORKGROUP: device.software ? Math.max(8, device.subgroupMaxSize) : THREADS,
    TAIL: count % 4 !== 0,
    ...(pairs && { PARTS: 2 }),
  }
}

/** On a GPU each thread takes one vec4, or two of float16, which are as many bytes. A software device gets enough workgroups for its cores, and few, since each costs time. */
function flatGrid(count: number, { WORKGROUP, PARTS = 1 }: Constants): Grid {
  const total = ceilDiv(count, 4 * Number(PARTS))
  const most = ceilDiv(total, THREADS)
  return grid1d(WORKGROUP === THREADS ? most : Math.min(most, Math.max(64, ceilDiv(total, 4096))))
}

/** Whether each operand of a nest moves along a row (1) or stays in place (0). */
function stepConstants(operands: readonly string[], { walks }: NestProblem): Constants {
  return Object.fromEntries(operands.map((name, k) => [`${name.toUpperCase()}_STEP`, walks[k]!.step]))
}

/** Whether two vec4s at a time lie together in every operand that moves. */
function inPairs({ walks }: NestProblem): boolean {
  return walks.every(({ step, offset }) => step === 0 || offset % 8 === 0)
}

type ConstantsOf<P> = (problem: P) => Constants

/**
 * Makes the only variant of a kernel on `count` neighbours in memory.
 * @param halves whether all operands are float16, and the source takes two vec4s at a time
 */
export function countVariant<P extends { count: number }>(
  source: string,
  constants: ConstantsOf<P> = () => ({}),
  halves = false,
): Variant<P> {
  return {
    name: 'flat',
    source,
    constants: (problem, device) => ({ ...constants(problem), ...flatConstants(problem.count, device, halves) }),
    grid: ({ count }, constants) => flatGrid(count, constants),
  }
}

/** The variant of a strided kernel that takes any strides, element by element. */
export function stridedVariant<P extends { rows: number; inner: number }>(
  source: string,
  constants: ConstantsOf<P> = () => ({}),
): Variant<P> {
  return {
    name: 'strided',
    source,
    constants: (problem, device) => ({ ...constants(problem), RUN: runLength(device, 32) }),
    grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv(rows * ceilDiv(inner, Number(RUN)), THREADS)),
  }
}

/**
 * The variants of a strided kernel: `flat` for operands that are each one run of neighbours in memory, or one element, `vector` for rows that
 * can be walked in vec4s, and `strided` for all others. Constants of the first two say which of the named operands stay in place along a row.
 */
export function nestVariants<P extends NestProblem>(
  sources: { flat: string; vector: string; strided: string },
  operands: readonly string[],
  constants: ConstantsOf<P>,
  halves = false,
): [flat: Variant<P>, vector: Variant<P>, strided: Variant<P>] {
  const withSteps = (problem: P) => ({ ...constants(problem), ...stepConstants(operands, problem) })
  return [
    {
      name: 'flat',
      source: sources.flat,
      supports: (_, problem) => isFlat(problem),
      constants: (problem, device) => ({
        ...withSteps(problem),
        ...flatConstants(problem.inner, device, halves && inPairs(problem)),
      }),
      grid: ({ inner }, constants) => flatGrid(inner, constants),
    },
    {
      name: 'vector',
      source: sources.vector,
      supports: (_, problem) => hasVectorRows(problem),
      constants: (problem, device) => ({ ...withSteps(problem), RUN: runLength(device, 16) }),
      grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv(rows * ceilDiv(inner / 4, Number(RUN)), THREADS)),
    },
    stridedVariant(sources.strided, constants),
  ]
}
