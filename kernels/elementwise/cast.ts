import { countVariant } from '../runs.ts'
import { type KernelSpec, reads, type Scalar, scalars, writes } from '../spec.ts'
import castSource from './cast.wgsl'

function makeCast(name: string, from: Scalar, to: Scalar): KernelSpec<{ count: number }> {
  return {
    name,
    bindings: [...reads(from, 'x'), ...writes(to, 'y')],
    params: scalars('u32', 'count'),
    variants: [countVariant(castSource, () => ({ From: from, To: to, TO_INT: to === 'i32' }))],
    flops: () => 0,
    bytes: ({ count }) => 8 * count,
  }
}

/** y [count] from x [count], float32 to int32, cut towards 0. Beyond int32 it is the last float32 within; for NaN the lowest int32. */
export const castToInt = makeCast('castToInt', 'f32', 'i32')
/** y [count] from x [count], int32 to the nearest float32. */
export const castToFloat = makeCast('castToFloat', 'i32', 'f32')
