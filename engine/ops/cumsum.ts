import type { AxisView } from '../../kernels/axisView.ts'
import * as kernels from '../../kernels/cumsum/index.ts'
import { outputs, rowMajor, sum, sumInt, withChunk } from '../../kernels/reduce/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { refuseHalf } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { axisViewOf } from './reduceDims.ts'

/** Writes the running sums of x along the axis into y; both are contiguous, float32 or int32. `reverse` sums from the end of the axis. */
function scanInto(y: Tensor, x: Tensor, axis: AxisView, reverse: boolean): void {
  const { outer, n, inner } = axis
  const [scan, reduce] = x.dtype === 'float32' ? [kernels.cumsum, sum] : [kernels.cumsumInt, sumInt]
  const split = withChunk(rowMajor(outer, n, inner), kernels.cumsumChunk(x.device.capabilities, axis))
  const { chunk, chunks } = split
  // Each chunk starts from the running sum of the chunk sums before it; the kernel ignores `sums` where there is one chunk.
  let sums = x
  if (chunks > 1) {
    const chunkSums = empty([outputs(split)], x.dtype, x.device) // [outer, chunks, inner]
    run(reduce, { ...split, scale: 1 }, [x, chunkSums])
    sums = empty([outputs(split)], x.dtype, x.device)
    scanInto(sums, chunkSums, { outer, n: chunks, inner }, reverse)
  }
  run(scan, { outer, n, inner, chunk, chunks, reverse }, [x, sums, y])
}

interface Scan {
  axis: AxisView
  reverse: boolean
}

const op: (inputs: [Tensor], scan: Scan) => Tensor = defineOp<[Tensor], Scan>({
  name: 'cumsum',
  forward(_ctx, [x], { axis, reverse }) {
    const y = empty(x.shape, x.dtype, x.device)
    scanInto(y, x.contiguous(), axis, reverse)
    return y
  },
  backward(ctx, grad, { axis, reverse }) {
    const dx = ctx.gradOut(0)
    scanInto(dx, grad.contiguous(), axis, !reverse)
    return [dx]
  },
  differentiableBackward: (_ctx, grad, { axis, reverse }) => [op([grad], { axis, reverse: !reverse })],
})

/**
 * The running sum along a dim: y[j] = x[0] + … + x[j].
 * @param x float32 or int32 (which wraps around), any shape; inside `autocast` float16 too
 * @param dim negative numbers count back
 * @returns a tensor of the shape and dtype of x
 * @throws ShapeError for float16, or a dim that x does not have
 */
export function cumsum(x: Tensor, dim: number, ...extra: []): Tensor {
  checkTensor('cumsum', x)
  checkNoMore('cumsum', extra)
  const input = toFloat32(x)
  refuseHalf('cumsum', input)
  return op([input], { axis: axisViewOf('cumsum', x.shape, dim), reverse: false })
}
