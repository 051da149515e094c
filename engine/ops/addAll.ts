import { treeReduce } from '../autograd/treeReduce.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkTensors } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { add } from './elementwise.ts'

/**
 * The sum of tensors, added up by pairs: rounding grows with the logarithm of their number, as does the number of steps that
 * must follow each other.
 * @param tensors that broadcast to one shape
 * @throws ShapeError for no tensors, or shapes that do not broadcast
 */
export function addAll(tensors: readonly Tensor[], ...extra: []): Tensor {
  checkTensors('addAll', tensors)
  checkNoMore('addAll', extra)
  if (tensors.length === 0) throw new ShapeError('addAll: got no tensors, takes at least one')
  return treeReduce(tensors, add)
}
