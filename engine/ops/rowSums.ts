import * as kernels from '../../kernels/gather/index.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { stableOrder } from './argsort.ts'

/**
 * Writes into row r of `out` [rows, width] the sum of the rows k of `src` [count, width] with indices[k] = r, in the order of k. Indices
 * outside are left out. All are contiguous.
 */
export function sumRows(out: Tensor, src: Tensor, indices: Tensor, problem: kernels.Gather): void {
  if (!kernels.prefersSorted(problem)) {
    run(kernels.scatterAdd, problem, [src, indices, out])
    return
  }
  const { count, rows } = problem
  const order = stableOrder(indices)
  const starts = empty([rows + 1], 'int32', out.device)
  run(kernels.rowStarts, { count, rows }, [indices, order, starts])
  run(kernels.scatterAddSorted, problem, [src, order, starts, out])
}
