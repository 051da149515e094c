import type { AxisView } from '../axisView.ts'
import { ceilDiv, grid1d, type KernelSpec, reads, type Scalar, scalars, type Variant, writes } from '../spec.ts'
import cummaxSource from './cummax.wgsl'
import cumprodSource from './cumprod.wgsl'
import cumprodBackwardSource from './cumprodBackward.wgsl'

export interface Scan extends AxisView {
  dtype: Scalar
}

/** The variant with a thread for each line. */
function perLine<P extends AxisView>(
  source: string,
  constants: (problem: P) => Record<string, string | boolean>,
): Variant<P>[] {
  return [
    {
      name: 'direct',
      source,
      constants: (problem, device) => ({ ...constants(problem), WORKGROUP: device.software ? 8 : 64 }),
      grid: ({ outer, inner }, { WORKGROUP }) => grid1d(ceilDiv(outer * inner, Number(WORKGROUP))),
    },
  ]
}

const params = scalars('u32', 'outer', 'n', 'inner')
const dtypeOf = ({ dtype }: Scan): Scalar => dtype

/** y[k] = x[0] * … * x[k] along the middle axis of [outer, n, inner], of f32 or i32. */
export const cumprod: KernelSpec<Scan> = {
  name: 'cumprod',
  bindings: [...reads(dtypeOf, 'x'), ...writes(dtypeOf, 'y')],
  params,
  variants: perLine(cumprodSource, ({ dtype }) => ({ Element: dtype })),
  flops: ({ outer, n, inner }) => outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}

/** dx from the gradient of `cumprod`, which is right where elements are 0, too. */
export const cumprodBackward: KernelSpec<AxisView> = {
  name: 'cumprodBackward',
  bindings: [...reads('f32', 'x', 'grad'), ...writes('f32', 'dx')],
  params,
  variants: perLine(cumprodBackwardSource, () => ({})),
  flops: ({ outer, n, inner }) => 8 * outer * n * inner,
  bytes: ({ outer, n, inner }) => 16 * outer * n * inner,
}

/** The indices of the running maxima of x along the middle axis of [outer, n, inner], the last of equal ones. */
export const cummax: KernelSpec<Scan> = {
  name: 'cummax',
  bindings: [...reads(dtypeOf, 'x'), ...writes('i32', 'indices')],
  params,
  variants: perLine(cummaxSource, ({ dtype }) => ({ FLOAT: dtype === 'f32' })),
  flops: ({ outer, n, inner }) => outer * n * inner,
  bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
}
