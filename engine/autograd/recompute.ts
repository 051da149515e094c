import { checkFunction, refusal } from '../base/checks.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { Tensor, view } from '../tensor/tensor.ts'
import { autocast, autocastDtype } from './autocast.ts'
import { Recomputation } from './recomputation.ts'
import { enableGrad } from './tape.ts'

/**
 * Runs a part of a model that keeps only its inputs for backward, which runs it again to get at what its ops save: memory
 * for time (Chen et al., arXiv 1604.06174; PyTorch's checkpoint). Results and gradients keep their bits: what runs again draws the same
 * random numbers, inside the same `autocast` and stream. Does nothing more than `fn` where no tape is recorded.
 * @param fn of the inputs, and of parameters; it must do the same when it runs again. Other tensors that it uses and that are made in
 *   the forward pass must be inputs
 * @throws ArgumentError when `fn` is no function or an input no live tensor; Error from backward when `fn` did something else
 */
export function recompute<I extends readonly Tensor[]>(fn: (...inputs: I) => Tensor, ...inputs: I): Tensor {
  checkFunction('recompute', fn)
  for (const input of inputs) checkTensor('recompute', input)
  const dtype = autocastDtype()
  const held = withoutScope(() => inputs.map(aliasOf))
  const part = new Recomputation(held, (again) => {
    autocast(dtype, () => scope(() => void enableGrad(() => fn(...(again as unknown as I)))))
  })
  return part.first(() => {
    const result = scope(() => fn(...inputs))
    if (!(result instanceof Tensor)) throw refusal('recompute', result, 'a tensor', 'what the function gives')
    return result
  })
}

/** The tensor at the same place of the tape. */
function aliasOf(t: Tensor): Tensor {
  const alias = view(t, t.shape, t.strides, t.offset)
  alias.requiresGrad = t.requiresGrad
  alias.node = t.node?.retain()
  return alias
}
