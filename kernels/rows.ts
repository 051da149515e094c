import { elementSums, groupConstants, type RowVector, rowVector, threadsFor } from './axisView.ts'
import { type Binding, type Constants, ceilDiv, grid1d, type Param, scalars, type Variant } from './spec.ts'

/** Rows of n elements. Those of x start at `xOffset` and lie `xStride` elements apart; all others are contiguous. */
export interface Rows {
  rows: number
  n: number
  xOffset: number
  xStride: number
}

/** The parameters that kernels on such rows share. */
export const rowParams: readonly Param[] = scalars('u32', 'rows', 'n', 'xOffset', 'xStride')

/** The binding of x. */
export const rowsOfX: Binding = { name: 'x', access: 'read', dtype: 'f32', offset: 'xOffset' }

/** The variant `direct`, with a thread for each row. */
export function threadPerRow<P extends Rows>(source: string, more: (problem: P) => Constants = () => ({})): Variant<P> {
  return {
    name: 'direct',
    source,
    constants(problem) {
      const vector = vectorOf(problem)
      return { WORKGROUP: threadsFor(problem.rows), ...elementSums(problem.n / vector.ROW_VEC), ...vector, ...more(problem) }
    },
    grid: ({ rows }, { WORKGROUP }) => grid1d(ceilDiv(rows, Number(WORKGROUP))),
  }
}

/** The constants of kernels with a workgroup for each row. */
export function groupPerRow(problem: Rows): Constants {
  return { ...groupConstants(problem.n, rowVector(problem.n)), ...vectorOf(problem) }
}

/** An `Element` is a vec4 where every row of x starts at a multiple of 4. */
function vectorOf({ n, xOffset, xStride }: Rows): RowVector {
  return rowVector(n, xOffset, xStride)
}
