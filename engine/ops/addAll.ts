import { defineOp } from '../autograd/tape.ts'
import { treeReduce } from '../autograd/treeReduce.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkTensors } from '../tensor/arguments.ts'
import { canAddFour, runAddFour } from '../tensor/pointwise.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { add } from './elementwise.ts'

const addFour = defineOp<readonly Tensor[]>({
  name: 'addAll',
  forward(_ctx, terms) {
    const [{ shape, device }] = terms as [Tensor]
    const out = empty(shape, 'float32', device)
    runAddFour(terms, out)
    return out
  },
  backward: (ctx, grad) => ctx.needs.map((needed) => (needed ? grad : undefined)),
  differentiableBackward: (ctx, grad) => ctx.needs.map((needed) => (needed ? grad : undefined)),
})

/** Adds up two to four tensors in the order of `addFour`. */
function addPairs([a, b, c, d]: readonly Tensor[]): Tensor {
  const sum = add(a!, b!)
  return c ? add(sum, d ? add(c, d) : c) : sum
}

/**
 * Adds up n tensors by a tree reduction: rounding errors and the depth of the additions grow with log2(n).
 * @param tensors at least one, of shapes that broadcast together and of one dtype (inside `autocast`, of float32 and float16)
 * @throws ShapeError for no tensors, two dtypes, or shapes that do not broadcast; ArgumentError unless all are live tensors of one device
 */
export function addAll(tensors: readonly Tensor[], ...extra: []): Tensor {
  checkTensors('addAll', tensors)
  checkNoMore('addAll', extra)
  if (tensors.length === 0) throw new ShapeError('addAll: got no tensors, takes at least one')
  return treeReduce(tensors, (few) => (canAddFour(few) ? addFour(few, undefined) : addPairs(few)))
}
