import { noGrad, watchOps } from './autograd/tape.ts'
import { checkFunction } from './base/checks.ts'
import { isFloat } from './layout/dtype.ts'
import { format } from './layout/shape.ts'
import { mul } from './ops/elementwise.ts'
import { sum } from './ops/reduce.ts'
import { scope, withoutScope } from './tensor/scope.ts'
import type { Tensor } from './tensor/tensor.ts'

/**
 * Runs `fn` and finds the first op, forward or backward, whose result holds NaN or an infinity. It adds a product and a
 * sum to every op, so it is for a search after a loss was not finite.
 * @returns the op and the shape of its result, such as `exp [32, 10]`; undefined when all results are finite
 * @throws ArgumentError when `fn` is no function, and the errors of `fn`
 */
export async function firstNonFinite(fn: () => void): Promise<string | undefined> {
  checkFunction('firstNonFinite', fn)
  const names: string[] = []
  const probes: Tensor[] = []
  let probing = false
  const watch = (name: string, result: Tensor) => {
    if (probing || !isFloat(result.dtype)) return
    probing = true
    names.push(`${name} ${format(result.shape)}`)
    probes.push(withoutScope(() => noGrad(() => probe(result))))
    probing = false
  }
  watchOps(watch, () => scope(fn))
  let found: string | undefined
  for (const [i, probe] of probes.entries()) {
    if (found === undefined && Number.isNaN(await probe.item())) found = names[i]
    probe.dispose()
  }
  return found
}

/** Returns NaN if an element is not finite, else 0: x * 0 is 0 only for finite numbers, and a sum keeps NaN. */
function probe(x: Tensor): Tensor {
  return scope(() => sum(mul(x, 0)))
}
