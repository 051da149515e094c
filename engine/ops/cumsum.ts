import { cumsumInt, cumsum as cumsumKernel } from '../../kernels/cumsum/index.ts'
import type { Lines } from '../../kernels/lines.ts'
import { checkTensor } from '../arguments.ts'
import { defineOp } from '../autograd.ts'
import { checkNoMore } from '../checks.ts'
import { refuseHalf } from '../dtype.ts'
import { run } from '../run.ts'
import { empty, type Tensor } from '../tensor.ts'
import { linesAlong } from './lines.ts'

const op = defineOp<[Tensor], Lines>({
  name: 'cumsum',
  forward(_ctx, [x], lines) {
    const y = empty(x.shape, x.dtype, x.device)
    run(x.dtype === 'float32' ? cumsumKernel : cumsumInt, { ...lines, reverse: false }, [x.contiguous(), y])
    return y
  },
  backward(ctx, grad, lines) {
    const dx = ctx.gradOut(0)
    run(cumsumKernel, { ...lines, reverse: true }, [grad.contiguous(), dx])
    return [dx]
  },
})

/**
 * The running sum along a dim: y[j] = x[0] + … + x[j].
 * @param x float32 or int32, any shape
 * @param dim negative counts back
 * @returns a tensor of x's shape and dtype
 * @throws ShapeError for float16, or a dim that x does not have
 */
export function cumsum(x: Tensor, dim: number, ...extra: []): Tensor {
  checkTensor('cumsum', x)
  checkNoMore('cumsum', extra)
  refuseHalf('cumsum', x)
  return op([x], linesAlong('cumsum', x.shape, dim))
}
