import { type Capabilities, ceilDiv, grid1d, type Variant } from '../spec.ts'
import { type AttentionShape, type RowView, roomFor } from './variants.ts'

/** The rows on the other side that a workgroup takes at a time. */
const STEP = 32
/** The most of them in one chain of additions. Its rounding error is at most 2e-5, a fraction of that of the float16 results. */
const LONG_STEPS = 16384

/** One of the three kernels for tensor cores, with float16 operands. */
interface MatrixKernel<P extends AttentionShape> {
  source: string
  /** The rows of a head that workgroups own: its queries or its keys. */
  rows(problem: P): number
  /** The rows of a head on the other side, which each workgroup passes over. */
  steps(problem: P): number
  /** The name of the constant for the rows on the other side that a workgroup takes at a time. */
  step: 'KEYS' | 'QUERIES'
  /** The bytes of workgroup memory beside rows, scores and weights, for a number of threads. */
  extra(threads: number): number
  /** The operands that are loaded by fours where all their rows allow it. */
  views(problem: P): readonly RowView[]
}

/** The variant whose workgroups own 16 rows for each of their subgroups. */
export function matrixVariant<P extends AttentionShape>(
  name: string,
  subgroups: number,
  { source, rows, steps, step, extra, views }: MatrixKernel<P>,
): Variant<P> {
  const owned = 16 * subgroups
  return {
    name,
    source,
    supports(device, problem) {
      const { subgroupMaxSize: lanes, maxInvocations, maxWorkgroupMemory } = device
      const threads = subgroups * lanes
      const room = maxWorkgroupMemory - memory(problem, owned) - extra(threads)
      const fits = lanes % 16 === 0 && threads <= maxInvocations && room >= 0
      return device.subgroupMatrix && fits && problem.dtype === 'f16' && problem.width <= 128
    },
    constants(problem, device) {
      const fours = problem.width % 4 === 0 && views(problem).every((view) => view.every((stride) => stride % 4 === 0))
      return {
        LANES: device.subgroupMaxSize,
        SUBGROUPS: subgroups,
        [step]: STEP,
        WIDTH: roomFor(problem),
        Element: fours ? 'vec4<f16>' : 'f16',
        FOURS: fours,
        ...(steps(problem) > LONG_STEPS ? { LONG: true } : {}),
      }
    },
    grid: (problem) => grid1d(ceilDiv(rows(problem), owned) * problem.batch * problem.heads),
  }
}

/** The variant of 4 subgroups. */
export function subgroupMatrix<P extends AttentionShape>(kernel: MatrixKernel<P>): Variant<P> {
  return matrixVariant('subgroupMatrix', 4, kernel)
}

/** Whether to take the variant. Few rows leave most of a workgroup idle. */
export function takesMatrices<P extends AttentionShape>(device: Capabilities, problem: P, variant: Variant<P>, rows: number) {
  return !device.software && rows >= 16 && variant.supports!(device, problem)
}

/** The bytes of workgroup memory for rows of operands, scores and weights. */
function memory(problem: AttentionShape, rows: number): number {
  const operands = 2 * Math.max(2 * STEP, rows) * (roomFor(problem) + 8)
  return operands + rows * (4 * (STEP + 4) + 2 * (STEP + 8))
}
