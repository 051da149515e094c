import type { Elements } from '../../kernels/functions.ts'
import type { KernelSpec } from '../../kernels/spec.ts'
import { type DifferentiableContext, defineOp } from '../autograd/tape.ts'
import { type Dtype, scalarOf } from '../layout/dtype.ts'
import { fillInPlace } from '../tensor/copies.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { zeros } from './create.ts'

/** A function of one operand, and where its gradient comes from. */
interface FunctionDefinition<Op extends string, A> {
  name: string
  /** The function in the kernels; by default its name. */
  op?: Op
  forward: KernelSpec<Elements<any> & A>
  /** The kernel of the gradient; without one the gradient is 0. */
  backward?: KernelSpec<Elements<any> & A>
  /** The tensor from which the gradient is computed: x or f(x). */
  saves?: 'input' | 'result'
  /** Computes the gradient by ops on the tape. */
  derivative?(grad: Tensor, ctx: DifferentiableContext, args: A): Tensor
}

/** The problem of a kernel of functions for tensors of a float dtype. */
function problemOf<A>(op: string, { size, dtype }: { size: number; dtype: Dtype }, args: A): Elements & A {
  return { op, count: size, ...(dtype === 'float16' && { dtype: scalarOf(dtype) }), ...args }
}

/**
 * Defines a function of one operand of float32 or float16, which follows IEEE 754 but for subnormals, that drivers may flush to 0.
 * @returns a function of the tensor and of the parameters that the kernels take besides the elements
 */
export function defineFunction<Op extends string, A extends object = object>(
  definition: FunctionDefinition<Op, A>,
): (x: Tensor, args: A) => Tensor {
  const { name, forward, backward, saves, derivative } = definition
  const of = definition.op ?? name
  const op = defineOp<[Tensor], A>({
    name,
    forward(ctx, [input], args) {
      const x = input.contiguous()
      const y = empty(x.shape, x.dtype, x.device)
      run(forward, problemOf(of, x, args), [x, y])
      if (saves) ctx.saveForBackward(saves === 'input' ? x : y)
      return y
    },
    backward(ctx, grad, args) {
      const dx = ctx.gradOut(0)
      if (backward) run(backward, problemOf(of, dx, args), [grad.contiguous(), ctx.saved[0]!, dx])
      else fillInPlace(dx, 0)
      return [dx]
    },
    differentiableBackward: (ctx, grad, args) => {
      const { shape, dtype, device } = grad
      return [derivative ? derivative(grad, ctx, args) : zeros(shape, { dtype, device })]
    },
  })
  return (x, args) => op([x], args)
}
