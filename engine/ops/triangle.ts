import * as kernels from '../../kernels/indexing/index.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore, refusal } from '../base/checks.ts'
import { sizeOf } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

interface Side {
  diagonal: number
  lower: boolean
}

/** Writes one side of the matrices of x, whose last two dims are rows and columns, into `out`. */
function keepSide(out: Tensor, x: Tensor, { diagonal, lower }: Side): void {
  const [rows, columns] = x.shape.slice(-2) as [number, number]
  // Beyond the corners a diagonal makes no difference.
  const within = Math.min(Math.max(diagonal, -rows), columns)
  const problem = { batches: sizeOf(x.shape.slice(0, -2)), rows, columns, diagonal: within, lower }
  run(kernels.triangle, x.dtype === 'float16' ? { ...problem, dtype: 'f16' } : problem, [x.contiguous(), out])
}

function define(name: 'triu' | 'tril') {
  const op: (inputs: [Tensor], side: Side) => Tensor = defineOp<[Tensor], Side>({
    name,
    forward(_ctx, [x], side) {
      const out = empty(x.shape, x.dtype, x.device)
      keepSide(out, x, side)
      return out
    },
    backward(ctx, grad, side) {
      const dx = ctx.gradOut(0)
      keepSide(dx, grad, side)
      return [dx]
    },
    differentiableBackward: (_ctx, grad, side) => [op([grad], side)],
  })
  return (x: Tensor, diagonal = 0, ...extra: []): Tensor => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    if (!Number.isSafeInteger(diagonal)) throw refusal(name, diagonal, 'a whole number', 'the diagonal')
    if (x.ndim < 2) throw mismatch(name, [x], 'matrices [..., rows, columns]')
    return op([x], { diagonal, lower: name === 'tril' })
  }
}

/**
 * Keeps the elements on and above a diagonal of each matrix, and puts 0 elsewhere.
 * @param x [..., rows, columns] of any dtype
 * @param diagonal 0 for the main one; positive ones lie above it
 * @throws ShapeError for fewer than two dims; ArgumentError for a diagonal that is no whole number
 */
export const triu = define('triu')

/** Keeps the elements on and below a diagonal of each matrix; otherwise as `triu`. @throws ShapeError, ArgumentError as `triu` */
export const tril = define('tril')
