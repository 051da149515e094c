// The gradients of linear layers as ops on the tape, for second derivatives.
import type { DifferentiableContext } from '../autograd/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { add } from './elementwise.ts'
import { exactGelu } from './exactGelu.ts'
import { gradients } from './grad.ts'
import { matmul } from './matmul.ts'
import { reshape, sumTo, transpose } from './shape.ts'

/** x W^T + b: x [..., in], weight [out, in], bias [out]. */
export function product(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const y = matmul(x, transpose(weight, 0, 1))
  return bias ? add(y, bias) : y
}

/** grad * gelu'(pre), of the result of an op on the tape. */
export function throughGelu(pre: Tensor, grad: Tensor): Tensor {
  return gradients(exactGelu(pre), [pre], grad, true)[0]!
}

/**
 * The gradients of x, weight and bias of x W^T + b where they are asked for.
 * @param dy the gradient of the product [..., out]
 * @param x gives the input [..., in], which only the gradient of weight needs
 */
export function productGradients(
  ctx: DifferentiableContext,
  [atX, atWeight, atBias]: readonly [x: number | undefined, weight: number, bias: number],
  dy: Tensor,
  x: () => Tensor,
): (Tensor | undefined)[] {
  const rows = (t: Tensor) => reshape(t, [-1, t.shape.at(-1)!])
  return [
    atX !== undefined && ctx.needs[atX] ? matmul(dy, ctx.input(atWeight)) : undefined,
    ctx.needs[atWeight] ? matmul(transpose(rows(dy), 0, 1), rows(x())) : undefined,
    ctx.needs[atBias] ? sumTo(dy, dy.shape.slice(-1)) : undefined,
  ]
}
