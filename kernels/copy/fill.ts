import { toHalf } from '../half.ts'
import { flatConstants, flatGrid } from '../runs.ts'
import type { KernelSpec, ParamScalar } from '../spec.ts'
import arangeSource from './arange.wgsl'
import fillSource from './fill.wgsl'

export interface FillProblem {
  count: number
  /** The bits of the value. */
  word: number
}

/** The bits of a float32 or int32, or of two equal float16. */
export function wordOf(value: number, dtype: 'f32' | 'f16' | 'i32'): number {
  if (dtype === 'f16') return toHalf(value) * 0x10001
  return dtype === 'i32' ? value >>> 0 : new Uint32Array(Float32Array.of(value).buffer)[0]!
}

/** Sets `count` words to one value. */
export const fill: KernelSpec<FillProblem> = {
  name: 'fill',
  bindings: [{ name: 'y', access: 'read_write', dtype: 'u32' }],
  params: [
    { name: 'count', type: 'u32' },
    { name: 'word', type: 'u32' },
  ],
  variants: [{ name: 'flat', source: fillSource, constants: flatConstants, grid: flatGrid }],
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
    bindings: [{ name: 'y', access: 'read_write', dtype: value }],
    params: [
      { name: 'count', type: 'u32' },
      { name: 'start', type: dtype },
      { name: 'step', type: dtype },
    ],
    variants: [
      {
        name: 'flat',
        source: arangeSource,
        constants: (problem, device) => ({ Scalar: dtype, Value: value, ...flatConstants(problem, device) }),
        grid: flatGrid,
      },
    ],
    flops: ({ count }) => 2 * count,
    bytes: ({ count }) => 4 * count,
  }
}

/** y[i] = start + i step, float32. */
export const arange = makeArange('arange', 'f32')
/** y[i] = start + i step, float32, of whole numbers of 32 bits: rounded once. */
export const arangeWhole = makeArange('arangeWhole', 'i32', 'f32')
/** y[i] = start + i step, int32. */
export const arangeInt = makeArange('arangeInt', 'i32')
