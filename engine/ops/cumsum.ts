import type { AxisView } from '../../kernels/axisView.ts'
import { cumsumChunk, cumsumInt, cumsum as cumsumKernel } from '../../kernels/cumsum/index.ts'
import { outputs, rowMajor, sumInt, sum as sumKernel, withChunk } from '../../kernels/reduce/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { refuseHalf } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { axisViewOf } from './axisView.ts'

/** Writes running sums of x along the lines into y, both contiguous, of float32 or int32; `reverse`: from the ends of the lines. */
function scanInto(y: Tensor, x: Tensor, lines: AxisView, reverse: boolean): void {
  const { outer, n, inner } = lines
  const [scan, sum] = x.dtype === 'float32' ? [cumsumKernel, sumKernel] : [cumsumInt, sumInt]
  const pieces = withChunk(rowMajor(outer, n, inner), cumsumChunk(x.device.capabilities, lines))
  const { chunk, chunks } = pieces
  let sums = x
  if (chunks > 1) {
    const ofPieces = empty([outputs(pieces)], x.dtype, x.device)
    run(sum, { ...pieces, scale: 1 }, [x, ofPieces])
    sums = empty([outputs(pieces)], x.dtype, x.device)
    scanInto(sums, ofPieces, { outer, n: chunks, inner }, reverse)
  }
  run(scan, { outer, n, inner, chunk, chunks, reverse }, [x, sums, y])
}

const op = defineOp<[Tensor], AxisView>({
  name: 'cumsum',
  forward(_ctx, [x], lines) {
    const y = empty(x.shape, x.dtype, x.device)
    scanInto(y, x.contiguous(), lines, false)
    return y
  },
  backward(ctx, grad, lines) {
    const dx = ctx.gradOut(0)
    scanInto(dx, grad.contiguous(), lines, true)
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
  return op([x], axisViewOf('cumsum', x.shape, dim))
}
