import { chooseForLines, elementSums, groupVariants, type RowVector, rowVector } from '../axisView.ts'
import { groupPerRow, type Rows, rowParams, rowsOfX } from '../rows.ts'
import type { Capabilities, Constants, Grid, KernelSpec } from '../spec.ts'
import { branchStrides, ceilDiv, grid1d, reads, scalars, writes } from '../spec.ts'
import direct from './backwardDirect.wgsl'
import subgroup from './backwardSubgroup.wgsl'
import workgroup from './backwardWorkgroup.wgsl'
import combine from './combine.wgsl'

/** The gradients to compute, and the places of the sums over `chunks` parts of the rows, in elements. */
export interface LayerNormBackwardProblem extends Rows {
  /** Whether dx is wanted. */
  input: boolean
  /** The parts of the rows; 0 where the gradients of weight and bias are not wanted. */
  chunks: number
  weightOffset: number
  /** The distance from the weight's sums to the bias's, modulo 2^32. */
  toBias: number
}

/** The columns that a workgroup of the variants with workgroup memory takes. */
const COLUMNS = 32
/** The least number of threads that share the rows of a chunk in those variants. */
const SHARES = 2
/** The most rows of a chunk that the `direct` variant adds up in sums of 512; more take levels. */
const LONG_COLUMN = 16384

/**
 * The gradients of LayerNorm in one dispatch, from dy [rows, n] and from `center` [rows] and `rstd` [rows] of the forward kernel. The
 * gradient of x is dx [rows, n]. The gradients of weight and bias are summed over each of `chunks` parts of the rows, [chunks, n] at
 * `weightOffset` of `sums` and again `toBias` elements on. With one chunk these sums are the gradients; else `layerNormCombine` adds the
 * chunks up. Both are in one binding because two parameters of an arena share a buffer, which cannot be bound twice for writing.
 */
export const layerNormBackward: KernelSpec<LayerNormBackwardProblem> = {
  name: 'layerNormBackward',
  bindings: [
    rowsOfX,
    ...reads('f32', 'weight', 'center', 'rstd', 'dy'),
    ...writes('f32', 'dx'),
    { name: 'sums', access: 'read_write', dtype: 'f32', offset: 'weightOffset' },
  ],
  params: [branchStrides(7), ...rowParams, ...scalars('u32', 'chunks', 'weightOffset', 'toBias')],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants(problem, device) {
        const vector = elementOf(problem)
        const elements = problem.n / vector.ROW_VEC
        // A software device runs a workgroup on one core, and columns may be few. Where they are many, neighbours share cache lines.
        return {
          WORKGROUP: device.software ? (elements < 64 ? 8 : 16) : 64,
          ...elementSums(elements),
          LONG_COLUMNS: problem.chunks > 0 && problem.rows / problem.chunks > LONG_COLUMN,
          ...vector,
        }
      },
      grid: (problem, { ROW_VEC, WORKGROUP }) =>
        grid(problem, Number(ROW_VEC) * Number(WORKGROUP), ceilDiv(problem.rows, Number(WORKGROUP))),
    },
    ...groupVariants<LayerNormBackwardProblem>({ workgroup, subgroup }, groupConstants, (problem, { ROW_VEC }) =>
      grid(problem, Number(ROW_VEC) * COLUMNS, problem.rows),
    ),
  ],
  choose: (device, { rows, n }) => chooseForLines(device, rows, n),
  shapeClass: ({ rows, n, chunks, input }) => [rows, n, chunks, Number(input)],
  flops: ({ rows, n }) => 17 * rows * n,
  bytes: ({ rows, n, chunks }) => 4 * (3 * rows * n + n + 2 * rows + 2 * chunks * n),
}

/** The grid: workgroups for the columns of all chunks, with `columns` columns each, then `rowGroups` workgroups for the rows. */
function grid({ n, chunks, input }: LayerNormBackwardProblem, columns: number, rowGroups: number): Grid {
  return grid1d(ceilDiv(n, columns) * chunks + (input ? rowGroups : 0))
}

/** The constants of the variants with workgroup memory. */
function groupConstants(problem: LayerNormBackwardProblem): Constants {
  const longColumns = problem.chunks > 0 && problem.rows / problem.chunks / SHARES > 64
  return { ...groupPerRow(problem), LONG_COLUMNS: longColumns, ...elementOf(problem) }
}

/** An `Element` is a vec4 where every row of x and both sums start at a multiple of 4. */
function elementOf({ n, xOffset, xStride, weightOffset, toBias }: LayerNormBackwardProblem): RowVector {
  return rowVector(n, xOffset, xStride, weightOffset, toBias)
}

/** The number of parts to cut the rows into: enough for all cores, and so few that adding up the parts stays cheap. */
export function layerNormChunks(device: Capabilities, rows: number): number {
  const [rowsEach, most] = device.software ? [8192, 16] : [32, 128]
  return Math.max(1, Math.min(most, Math.floor(rows / rowsEach)))
}

export interface LayerNormCombineProblem {
  n: number
  chunks: number
  weightOffset: number
  /** The distance from the weight's gradient to the bias's, modulo 2^32. */
  toBias: number
}

/**
 * Adds up `sums` [2, chunks, n], the partial gradients of weight and bias. In `gradients`, the gradient of the weight [n] begins at
 * `weightOffset`, and that of the bias begins `toBias` elements later.
 */
export const layerNormCombine: KernelSpec<LayerNormCombineProblem> = {
  name: 'layerNormCombine',
  bindings: [...reads('f32', 'sums'), { name: 'gradients', access: 'read_write', dtype: 'f32', offset: 'weightOffset' }],
  params: [branchStrides(2), ...scalars('u32', 'n', 'chunks', 'weightOffset', 'toBias')],
  variants: [{ name: 'direct', source: combine, grid: ({ n }) => grid1d(ceilDiv(2 * n, 64)) }],
  flops: ({ n, chunks }) => 2 * n * chunks,
  bytes: ({ n, chunks }) => 4 * (2 * n * chunks + 2 * n),
}
