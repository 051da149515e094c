import { countVariant } from '../runs.ts'
import { branchStrides, type KernelSpec, reads, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import source from './clamp.wgsl'
import backwardSource from './clampBackward.wgsl'

/** A clamp of `count` neighbouring elements. */
export interface Clamp {
  count: number
  /** The bits of the limits, as float32 or int32. Those of an absent limit are those of the infinity or of the last int32 on its side. */
  low: number
  high: number
  /** The stored type; floats are computed in float32. */
  dtype: 'f32' | 'f16' | 'i32'
}

const stored = ({ dtype }: Clamp): Scalar => dtype

function make(name: string, clampSource: string, [inputs, output]: readonly [string[], string]): KernelSpec<Clamp> {
  const constants = ({ dtype }: Clamp) => ({
    Stored: dtype,
    ...(inputs.length === 1 && { Scalar: dtype === 'i32' ? 'i32' : 'f32', FLOAT: dtype !== 'i32' }),
  })
  return {
    name,
    bindings: [...reads(stored, ...inputs), ...writes(stored, output)],
    params: [branchStrides(inputs.length + 1), ...scalars('u32', 'count', 'low', 'high')],
    variants: [countVariant(clampSource, constants)],
    shapeClass: ({ count }) => [count],
    flops: ({ count }) => 2 * count,
    bytes: ({ count, dtype }) => (inputs.length + 1) * SCALAR_BYTES[dtype] * count,
  }
}

/** y [count] = min(max(x [count], low), high). NaN stays NaN, and a limit of NaN makes everything NaN. */
export const clamp = make('clamp', source, [['x'], 'y'])

/** out [count] = grad where low <= x <= high, else 0, float32 or float16. */
export const clampBackward = make('clampBackward', backwardSource, [['grad', 'x'], 'out'])
