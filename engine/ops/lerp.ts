import { lerpProblem, lerp as spec } from '../../kernels/lerp/lerp.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { toFloat } from '../autograd/cast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { scalarOf } from '../layout/dtype.ts'
import { broadcastShapes, type Shape } from '../layout/shape.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { full } from './create.ts'
import { mul, sub } from './elementwise.ts'
import type { Operand } from './operands.ts'
import { sumTo } from './shape.ts'

/** The numbers in the places of tensors that are not given, and the shapes of all three. */
interface Numbers {
  numbers: readonly [x: undefined, u: number | undefined, weight: number | undefined]
  shapes: readonly Shape[]
}

type Inputs = [x: Tensor, u: Tensor | undefined, weight: Tensor | undefined]

/** The gradients of x, u and weight, of the result's shape, summed to their own. */
function gradients(
  needs: readonly boolean[],
  grad: Tensor,
  [x, u, weight]: [Tensor, Operand, Operand],
  shapes: readonly Shape[],
) {
  const ofU = needs[0] || needs[1] ? mul(grad, weight) : undefined
  return [
    needs[0] ? sumTo(sub(grad, ofU!), shapes[0]!) : undefined,
    needs[1] ? sumTo(ofU!, shapes[1]!) : undefined,
    needs[2] ? sumTo(mul(grad, sub(u, x)), shapes[2]!) : undefined,
  ]
}

const op = defineOp<Inputs, Numbers>({
  name: 'lerp',
  forward(ctx, [x, ...others], { numbers }) {
    const { dtype, device } = x
    const [u, weight] = others.map((t, i) => t ?? full([], numbers[i + 1]!, { dtype, device })) as [Tensor, Tensor]
    const shape = broadcastShapes('lerp', broadcastShapes('lerp', x.shape, u.shape), weight.shape)
    const out = empty(shape, dtype, device)
    const [a, b, t] = [operand(x, shape), operand(u, shape), operand(weight, shape)]
    run(spec, lerpProblem(scalarOf(dtype), a.layout, b.layout, t.layout), [a.bound, b.bound, t.bound, out])
    const [ofX, ofU, ofWeight] = ctx.needs
    ctx.saveForBackward(ofWeight ? x : undefined, ofWeight ? others[0] : undefined, ofX || ofU ? others[1] : undefined)
    return out
  },
  backward: (ctx, grad, { numbers, shapes }) => {
    const [x, u, weight] = ctx.saved.map((t: Tensor | undefined, i) => t ?? numbers[i]) as [Tensor, Operand, Operand]
    return gradients(ctx.needs, grad, [x, u, weight], shapes)
  },
  differentiableBackward(ctx, grad, { numbers, shapes }) {
    const at = (i: number, reads: boolean | undefined) => numbers[i] ?? (reads ? ctx.input(i) : 0)
    const [ofX, ofU, ofWeight] = ctx.needs
    const operands = [at(0, ofWeight), at(1, ofWeight), at(2, ofX || ofU)] as [Tensor, Operand, Operand]
    return gradients(ctx.needs, grad, operands, shapes)
  },
})

/**
 * x + weight (u - x) with NumPy's broadcasting, on the way from x to u. int32 is computed in float32.
 * @param u a tensor or a number
 * @param weight a tensor or a number; 0 gives x and 1 gives u
 * @throws ShapeError for shapes that do not broadcast
 */
export function lerp(x: Tensor, u: Operand, weight: Operand, ...extra: []): Tensor {
  checkTensor('lerp', x)
  checkOperand('lerp', u, 'u')
  checkOperand('lerp', weight, 'weight')
  checkNoMore('lerp', extra)
  const all = [x, u, weight]
  const tensors = promoteTypes(all.flatMap((t) => (typeof t === 'number' ? [] : [toFloat(t)])))
  const met = [...tensors]
  const inputs = all.map((t) => (typeof t === 'number' ? undefined : met.shift())) as Inputs
  const numbers = all.map((t) => (typeof t === 'number' ? t : undefined)) as unknown as Numbers['numbers']
  return op(inputs, { numbers, shapes: inputs.map((t) => t?.shape ?? []) })
}
