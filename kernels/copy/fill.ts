import { toHalf } from '../half.ts'
import { countVariant } from '../runs.ts'
import { type KernelSpec, type ParamScalar, scalars, writes } from '../spec.ts'
import arangeSource from './arange.wgsl'
import fillSource from './fill.wgsl'

export interface FillProblem {
  count: number
  /** The bits of the value, repeated where two elements share a word. */
  word: number
}

/** The bits of a float32 or int32, or of two equal float16. */
export function wordOf(value: number, dtype: 'f32' | 'f16' | 'i32'): number {
  if (dtype === 'f16') return toHalf(value) * 0x10001
  return dtype === 'i32' ? value >>> 0 : new Uint32Array(Float32Array.of(value).buffer)[0]!
}

/** Sets the words y [count] to one value. */
export const fill: KernelSpec<FillProblem> = {
  name: 'fill',
  bindings: writes('u32', 'y'),
  params: scalars('u32', 'count', 'word'),
  variants: [countVariant(fillSource)],
  flops: () => 0,
  bytes: ({ count }) => 4 * count,
}

export interface Arange {
  count: number
  start: number
  step: number
}

function makeArange(name: string, dtype: ParamScalar, value = dtype): KernelSpec<Arange> {
  return {
    name,
    bindings: writes(value, 'y'),
    params: [...scalars('u32', 'count'), ...scalars(dtype, 'start', 'step')],
    variants: [countVariant(arangeSource, () => ({ Scalar: dtype, Value: value }))],
    flops: ({ count }) => 2 * count,
    bytes: ({ count }) => 4 * count,
  }
}

/** y[i] = start + i step, float32. */
export const arange = makeArange('arange', 'f32')
/** y[i] = start + i step, computed in int32 and rounded once to float32. */
export const arangeWhole = makeArange('arangeWhole', 'i32', 'f32')
/** y[i] = start + i step, int32. */
export const arangeInt = makeArange('arangeInt', 'i32')
