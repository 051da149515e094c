import { checkFunction, refusal } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { Tensor, view } from '../tensor/tensor.ts'
import { autocast, autocastDtype } from './autocast.ts'
import { Recomputation } from './recomputation.ts'
import { enableGrad } from './tape.ts'

/**
 * Runs a part of a model and keeps only its inputs for backward, which runs the part again to get the values that its ops save. This
 * trades time for memory (Chen et al., arXiv 1604.06174; PyTorch's checkpoint). Results and gradients keep their bits: the second run draws
 * the same random numbers, inside the same `autocast`. Inside `noGrad` it only calls `fn`.
 * @param fn a function of the inputs and of parameters that does the same each time. Tensors of the forward pass that it uses must be inputs
 * @throws ArgumentError when `fn` is no function, an input is no live tensor, or the result is no tensor; Error from backward when the
 *   second run differs from the first; StaleValueError from backward when a tensor that `fn` reads was changed in place between the runs
 */
export function recompute<I extends readonly Tensor[]>(fn: (...inputs: I) => Tensor, ...inputs: I): Tensor {
  checkFunction('recompute', fn)
  for (const input of inputs) checkTensor('recompute', input)
  const dtype = autocastDtype()
  const held = withoutScope(() => inputs.map(aliasOf))
  const recomputation = new Recomputation(held, (again) => {
    autocast(dtype, () => scope(() => void enableGrad(() => fn(...(again as unknown as I)))))
  })
  return recomputation.first(() => {
    const result = scope(() => fn(...inputs))
    if (!(result instanceof Tensor)) throw refusal('recompute', result, 'a tensor', 'what the function gives')
    return result
  })
}

/** Makes a view that has the same place on the tape. */
function aliasOf(t: Tensor): Tensor {
  const alias = view(t)
  alias.requiresGrad = t.requiresGrad
  alias.node = t.node?.retain()
  return alias
}
