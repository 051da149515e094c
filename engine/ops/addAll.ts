import { treeReduce } from '../autograd/treeReduce.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkTensors } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { add } from './elementwise.ts'

/**
 * Adds up n tensors by a tree reduction: rounding errors and the depth of the additions grow with log2(n).
 * @param tensors at least one, of shapes that broadcast together and of one dtype (inside `autocast`, of float32 and float16)
 * @throws ShapeError for no tensors, two dtypes, or shapes that do not broadcast; ArgumentError unless all are live tensors of one device
 */
export function addAll(tensors: readonly Tensor[], ...extra: []): Tensor {
  checkTensors('addAll', tensors)
  checkNoMore('addAll', extra)
  if (tensors.length === 0) throw new ShapeError('addAll: got no tensors, takes at least one')
  return treeReduce(tensors, add)
}
