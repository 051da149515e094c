import * as kernels from '../../kernels/indexing/index.ts'
import { fillInPlace } from '../tensor/copies.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { targetsOf } from './along.ts'

/**
 * Writes x, or zeros where it is missing, plus the elements of `src` at their indices into `out`, off the tape. All are contiguous and
 * float32. The sums are exact in fixed point of 64 bits and rounded once, so they do not depend on the order of threads.
 */
export function sumByIndex(out: Tensor, x: Tensor | undefined, src: Tensor, problem: kernels.Along, index: Bindable): void {
  const count = targetsOf(problem)
  const [largest, sums] = [empty([count], 'int32', out.device), empty([2 * count], 'int32', out.device)]
  for (const t of [largest, sums]) fillInPlace(t, 0)
  const shift = kernels.fixedPointShift(problem.m)
  run(kernels.scatterLargest, problem, [src, index, largest])
  run(kernels.scatterSum, { ...problem, shift }, [src, index, largest, sums])
  run(kernels.scatterTotal, { count, shift, add: x !== undefined }, [x ?? src, largest, sums, out])
}
