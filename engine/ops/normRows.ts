// Parts that the norms over the last dim share: the check of eps, and how the kernels see the rows of x.
import type { Rows } from '../../kernels/rows.ts'
import { refusal } from '../base/checks.ts'
import type { TensorLayout } from '../layout/tensorLayout.ts'
import { rowStrideOf } from '../tensor/strided.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** @throws ArgumentError unless `eps` is a finite number of at least 0 */
export function checkEps(op: string, eps: unknown): void {
  if (!(Number.isFinite(eps) && (eps as number) >= 0)) throw refusal(op, eps, 'a finite number of at least 0', 'eps')
}

/** Returns the tensor if the kernels can read its rows, which lie evenly spaced with their elements side by side, else a row-major copy. */
export function withRows(x: Tensor): Tensor {
  const contiguousRows = x.shape.at(-1) === 1 || x.strides.at(-1) === 1
  return contiguousRows && rowStrideOf(x) !== undefined ? x : x.contiguous()
}

/** The rows of a tensor of `withRows`, bound from the start of its storage. */
export function rowsOf({ layout }: Tensor): Rows {
  return rowsOfLayout(layout)
}

/** The rows of a tensor with such a layout, as `rowsOf` gives them. */
export function rowsOfLayout(layout: TensorLayout): Rows {
  const n = layout.shape.at(-1)!
  return { rows: layout.size / n, n, xOffset: layout.offset, xStride: rowStrideOf(layout)! }
}
