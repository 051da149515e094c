import * as kernels from '../../kernels/gather/index.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

/** A stable merge sort: the positions of int32 indices, sorted by index. */
export function stableOrder(indices: Tensor): Tensor {
  const count = indices.size
  let order = empty([count], 'int32', indices.device)
  run(kernels.sortBlocks, { count }, [indices, order])
  for (let length = kernels.SORT_BLOCK; length < count; length *= 2) {
    const merged = empty([count], 'int32', indices.device)
    run(kernels.mergeOrder, { count, run: length }, [indices, order, merged])
    order.dispose()
    order = merged
  }
  return order
}
