import { type Capabilities, ceilDiv, grid1d, type Variant } from '../spec.ts'
import source from './subgroupMatrix.wgsl'
import { type AttentionShape, type RowView, roomFor } from './variants.ts'

/** Attention, as far as this variant must know it. */
type Problem = AttentionShape & Record<'q' | 'k' | 'v', RowView>

/** Keys that a workgroup takes at a time. */
const KEYS = 32

/** Attention by tensor cores, float16 operands; a workgroup of so many subgroups owns 16 query rows for each. */
export function matrixVariant(name: string, subgroups: number): Variant<Problem> {
  const rows = 16 * subgroups
  return {
    name,
    source,
    supports(device, problem) {
      const { subgroupMaxSize: lanes, maxInvocations, maxWorkgroupMemory } = device
      const fits = lanes % 16 === 0 && subgroups * lanes <= maxInvocations && memory(problem, rows, lanes) <= maxWorkgroupMemory
      return device.subgroupMatrix && fits && problem.dtype === 'f16' && problem.width <= 128
    },
    constants(problem, device) {
      const fours = comesInFours(problem)
      return {
        LANES: device.subgroupMaxSize,
        SUBGROUPS: subgroups,
        KEYS,
        WIDTH: roomFor(problem),
        Element: fours ? 'vec4<f16>' : 'f16',
        FOURS: fours,
      }
    },
    grid: ({ queries, batch, heads }) => grid1d(ceilDiv(queries, rows) * batch * heads),
  }
}

export const subgroupMatrix = matrixVariant('subgroupMatrix', 4)

/** Whether to take it: a few rows leave most of a workgroup idle. */
export function takesMatrices(device: Capabilities, problem: Problem): boolean {
  return problem.queries >= 16 && subgroupMatrix.supports!(device, problem)
}

/** Bytes of workgroup memory: rows of operands, scores, weights and sums. */
function memory(problem: Problem, rows: number, lanes: number): number {
  const operands = 2 * Math.max(2 * KEYS, rows) * (roomFor(problem) + 8)
  return operands + rows * (4 * (KEYS + 4) + 2 * (KEYS + 8)) + (rows / 16) * lanes * 4 + 4
}

function comesInFours({ width, q, k, v }: Problem): boolean {
  return width % 4 === 0 && [q, k, v].every((view) => view.every((stride) => stride % 4 === 0))
}
