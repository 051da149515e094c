import { hasVectorRows, type NestProblem } from './layout.ts'
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

/** Constants of the kernels that walk flat memory in vec4s. */
export function flatConstants({ count }: { count: number }, device: Capabilities): Constants {
  return { RUN: runLength(device, 16), TAIL: count % 4 !== 0 }
}

export function flatGrid({ count }: { count: number }, { RUN }: Constants): Grid {
  return grid1d(ceilDiv(count, 4 * Number(RUN) * THREADS))
}

/** The vec4 variant of a strided kernel; the constants say which operands stay in place along a row. */
export function vectorVariant<P extends NestProblem>(
  source: string,
  operands: readonly string[],
  constants: (problem: P) => Constants,
): Variant<P> {
  const steps = operands.map((name) => `${name.toUpperCase()}_STEP`)
  return {
    name: 'vector',
    source,
    supports: (_, problem) => hasVectorRows(problem),
    constants(problem, device) {
      const all: Constants = { ...constants(problem), RUN: runLength(device, 16), TAIL: problem.inner % 4 !== 0 }
      for (let k = 0; k < steps.length; k++) all[steps[k]!] = problem.walks[k]!.step
      return all
    },
    grid: ({ rows, inner }, { RUN }) => grid1d(ceilDiv(rows * ceilDiv(ceilDiv(inner, 4), Number(RUN)), THREADS)),
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
