import type { Scalar } from '../spec.ts'
import { type Binding, branchStrides, type Constants, type Param, reads, scalars, writes } from '../spec.ts'

/**
 * A single computation stands behind a convolution and both of its gradients, an implicit matrix product: for each group
 * c[row, column] = sum over k of a[row, k] x[k, column], where the elements of x come from an image and are 0 outside of it.
 *
 * An index of `depth` (k) or of the columns is (n * height + i) * width + j. Element [k, column] of x lies in row
 * `y0 + yDepth * i(k) + yColumn * i(column)` of the image, in the column that j gives likewise, and in the plane that begins at
 * `xDepth * n(k) + xColumn * n(column)`.
 */
export interface Conv2d {
  groups: number
  rows: number
  columns: number
  depth: number
  /** The parts of depth that are summed on their own, and their length. */
  splits: number
  chunk: number
  depthHeight: number
  depthWidth: number
  columnHeight: number
  columnWidth: number
  /** Where an element of a lies, by group, row and the three indices of k. */
  aOffset: number
  aGroup: number
  aRow: number
  aN: number
  aY: number
  aX: number
  /** Where an element of the image lies: by group, by n of k and of the column, by its row and its column. */
  xOffset: number
  xGroup: number
  xDepth: number
  xColumn: number
  xY: number
  xX: number
  /** The size of the image. */
  height: number
  width: number
  y0: number
  x0: number
  yDepth: number
  yColumn: number
  xStepDepth: number
  xStepColumn: number
  /** Where an element of c lies, by split, group, row and the three indices of the column. */
  cOffset: number
  cSplit: number
  cGroup: number
  cRow: number
  cN: number
  cY: number
  cX: number
  /** 1 where bias [groups * rows] is added, else 0. */
  biased: number
  /** The bindings that are float16; bias and partial sums never are. */
  dtypes?: { readonly [name in 'a' | 'x' | 'c']?: 'f16' }
}

export const params: readonly Param[] = [
  branchStrides(4),
  ...scalars('u32', 'groups', 'rows', 'columns', 'depth', 'splits', 'chunk'),
  ...scalars('u32', 'depthHeight', 'depthWidth', 'columnHeight', 'columnWidth'),
  ...scalars('u32', 'aOffset', 'aGroup', 'aRow', 'aN', 'aY', 'aX'),
  ...scalars('u32', 'xOffset', 'xGroup', 'xDepth', 'xColumn', 'xY', 'xX', 'height', 'width'),
  ...scalars('i32', 'y0', 'x0', 'yDepth', 'yColumn', 'xStepDepth', 'xStepColumn'),
  ...scalars('u32', 'cOffset', 'cSplit', 'cGroup', 'cRow', 'cN', 'cY', 'cX', 'biased'),
]

type Element = keyof NonNullable<Conv2d['dtypes']>

const dtype =
  (name: Element) =>
  ({ dtypes }: Conv2d): Scalar =>
    dtypes?.[name] ?? 'f32'

export const bindings: readonly Binding[] = [
  { name: 'a', access: 'read', dtype: dtype('a'), offset: 'aOffset' },
  { name: 'x', access: 'read', dtype: dtype('x'), offset: 'xOffset' },
  ...reads('f32', 'bias'),
  ...writes((problem: Conv2d) => (problem.splits > 1 ? 'f32' : dtype('c')(problem)), 'c'),
]

/** The element types of bindings that are float16. */
export function types(problem: Conv2d): Constants {
  const { a, x, c } = problem.dtypes ?? {}
  return {
    ...(a && { ScalarA: a }),
    ...(x && { ScalarX: x }),
    ...(c && problem.splits === 1 && { ScalarC: c }),
  }
}
