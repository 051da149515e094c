import * as kernels from '../../kernels/gather/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { addOp } from './byIndex.ts'
import { zeros } from './create.ts'
import { sumRows } from './rowSums.ts'
import { broadcastTo, reshape } from './shape.ts'

const op = defineOp<[weight: Tensor, indices: Tensor], kernels.Gather>({
  name: 'embedding',
  forward(ctx, [weight, input], problem) {
    const indices = input.contiguous()
    const out = empty([...indices.shape, problem.width], 'float32', weight.device) // [..., D]
    run(kernels.gather, problem, [weight.contiguous(), indices, out])
    ctx.saveForBackward(indices)
    return out
  },
  backward(ctx, dOut, problem) {
    const [indices] = ctx.saved as [Tensor]
    const dweight = ctx.gradOut(0) // [V, D]
    sumRows(dweight, dOut.contiguous(), indices, problem)
    return [dweight, undefined]
  },
  differentiableBackward(ctx, grad, { count, rows, width }) {
    const index = broadcastTo(reshape(ctx.saved[0]!, [count, 1]), [count, width])
    const none = zeros([rows, width], { device: grad.device })
    return [addOp([none, index, reshape(grad, [count, width])], { dim: 0 }), undefined]
  },
})

/**
 * Looks up rows of a table. The gradients of a row that is used several times add up in a fixed order.
 * @param weight float32 [V, D]
 * @param indices int32 [...], each in [0, V); an index outside gives a row of NaN and no gradient
 * @returns float32 [..., D]
 * @throws ShapeError for other dtypes or shapes
 */
export function embedding(weight: Tensor, indices: Tensor, ...extra: []): Tensor {
  checkTensor('embedding', weight, 'weight')
  checkTensor('embedding', indices, 'indices')
  checkNoMore('embedding', extra)
  if (weight.dtype !== 'float32' || weight.ndim !== 2 || indices.dtype !== 'int32') {
    throw mismatch('embedding', [weight, indices], 'weight float32 [V, D] and indices int32 [...]')
  }
  const [rows, width] = weight.shape as [number, number]
  return op([weight, indices], { count: indices.size, rows, width })
}
