import { chooseForLines, isLong, unroll } from '../axisView.ts'
import { branchStrides, type Capabilities, type Constants, ceilDiv, type Grid, grid1d, type KernelSpec } from '../spec.ts'
import direct from './backwardDirect.wgsl'
import subgroup from './backwardSubgroup.wgsl'
import workgroup from './backwardWorkgroup.wgsl'
import { groupPerRow, type LayerNormRows, rowParams, rowVector } from './layerNorm.ts'

/** What to compute, and where sums over `chunks` parts of the rows go (in elements). */
export interface LayerNormBackwardProblem extends LayerNormRows {
  /** Whether dx is wanted. */
  input: boolean
  /** Parts of the rows; 0 where the gradients of weight and bias are not wanted. */
  chunks: number
  weightOffset: number
  /** From the weight's place to the bias's, modulo 2^32. */
  toBias: number
}

/** Columns that a workgroup of the variants with workgroup memory takes. */
const COLUMNS = 32
/** Threads at least that share the rows of a chunk there. */
const SHARES = 2
/** Rows that the `direct` variant sums before they join the others. */
const BLOCK = 32

/**
 * Gradients of LayerNorm in one dispatch; `center` and `rstd` are what the forward kernel gave. Those of weight and bias are summed
 * over each of `chunks` parts of the rows: [chunks, n] at `weightOffset` and again `toBias` elements on. With one chunk these are
 * the gradients; else `layerNormCombine` adds the chunks up. One buffer for both, since two parameters of an arena share one and
 * it cannot be bound twice for writing.
 */
export const layerNormBackward: KernelSpec<LayerNormBackwardProblem> = {
  name: 'layerNormBackward',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' },
    { name: 'weight', access: 'read', dtype: 'f32' },
    { name: 'center', access: 'read', dtype: 'f32' },
    { name: 'rstd', access: 'read', dtype: 'f32' },
    { name: 'dy', access: 'read', dtype: 'f32' },
    { name: 'dx', access: 'read_write', dtype: 'f32' },
    { name: 'sums', access: 'read_write', dtype: 'f32', offset: 'weightOffset' },
  ],
  params: [
    branchStrides(7),
    ...rowParams,
    { name: 'chunks', type: 'u32' },
    { name: 'weightOffset', type: 'u32' },
    { name: 'toBias', type: 'u32' },
  ],
  variants: [
    {
      name: 'direct',
      source: direct,
      constants(problem, device) {
        const vector = elementOf(problem)
        const elements = problem.n / vector.ROW_VEC
        // A software device runs a workgroup on one core, and columns may be few; where they are many, neighbours share cache lines.
        return {
          WORKGROUP: device.software ? (elements < 64 ? 8 : 16) : 64,
          LONG: isLong(elements),
          LONG_COLUMNS: problem.chunks > 0 && isLong(problem.rows / problem.chunks / BLOCK),
          UNROLL: unroll(elements),
          ...vector,
        }
      },
      grid: (problem, { ROW_VEC, WORKGROUP }) =>
        grid(problem, Number(ROW_VEC) * Number(WORKGROUP), ceilDiv(problem.rows, Number(WORKGROUP))),
    },
    {
      name: 'workgroup',
      source: workgroup,
      constants: groupConstants,
      grid: (problem, { ROW_VEC }) => grid(problem, Number(ROW_VEC) * COLUMNS, problem.rows),
    },
    {
      name: 'subgroup',
      source: subgroup,
      supports: (device) => device.subgroupMaxSize > 0,
      constants: groupConstants,
      grid: (problem, { ROW_VEC }) => grid(problem, Number(ROW_VEC) * COLUMNS, problem.rows),
    },
  ],
  choose: (device, { rows, n }) => chooseForLines(device, rows, n),
  shapeClass: ({ rows, n, chunks, input }) => [rows, n, chunks, Number(input)],
  flops: ({ rows, n }) => 17 * rows * n,
  bytes: ({ rows, n, chunks }) => 4 * (3 * rows * n + n + 2 * rows + 2 * chunks * n),
}

/** Workgroups for the columns of all chunks, so many columns each, then those for the rows. */
function grid({ n, chunks, input }: LayerNormBackwardProblem, columns: number, rowGroups: number): Grid {
  return grid1d(ceilDiv(n, columns) * chunks + (input ? rowGroups : 0))
}

/** Constants of the variants with workgroup memory. */
function groupConstants(problem: LayerNormBackwardProblem): Constants {
  const longColumns = problem.chunks > 0 && isLong(problem.rows / problem.chunks / SHARES)
  return { ...groupPerRow(problem), LONG_COLUMNS: longColumns, ...elementOf(problem) }
}

/** `Element` is a vec4 where every row of x and both sums start at a multiple of 4. */
function elementOf(problem: LayerNormBackwardProblem): { ROW_VEC: number; Element: string } & Constants {
  const whole = problem.weightOffset % 4 === 0 && problem.toBias % 4 === 0
  return whole ? rowVector(problem) : { ROW_VEC: 1, Element: 'f32' }
}

/** Into how many parts to cut the rows: enough for all cores, few enough that adding up the parts stays cheap. */
export function layerNormChunks(device: Capabilities, rows: number): number {
  const [rowsEach, most] = device.software ? [8192, 16] : [32, 128]
  return Math.max(1, Math.min(most, Math.floor(rows / rowsEach)))
}
