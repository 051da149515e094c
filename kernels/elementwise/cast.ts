import { flatConstants, flatGrid } from '../runs.ts'
import type { KernelSpec, Scalar } from '../spec.ts'
import castSource from './cast.wgsl'

function makeCast(name: string, from: Scalar, to: Scalar): KernelSpec<{ count: number }> {
  return {
    name,
    bindings: [
      { name: 'x', access: 'read', dtype: from },
      { name: 'y', access: 'read_write', dtype: to },
    ],
    params: [{ name: 'count', type: 'u32' }],
    variants: [
      {
        name: 'flat',
        source: castSource,
        constants: (problem, device) => ({ From: from, To: to, TO_INT: to === 'i32', ...flatConstants(problem, device) }),
        grid: flatGrid,
      },
    ],
    flops: () => 0,
    bytes: ({ count }) => 8 * count,
  }
}

/** float32 to int32, cut towards 0; numbers beyond int32 become the last float32 within, NaN the lowest int32. */
export const castToInt = makeCast('castToInt', 'f32', 'i32')
/** int32 to the nearest float32. */
export const castToFloat = makeCast('castToFloat', 'i32', 'f32')
