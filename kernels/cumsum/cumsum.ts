import { type Lines, threadsFor } from '../lines.ts'
import { type Capabilities, ceilDiv, grid1d, type KernelSpec } from '../spec.ts'
import direct from './direct.wgsl'
import workgroup from './workgroup.wgsl'

/** A tensor viewed as [outer, n, inner]; sums run along n, from its end where `reverse` is set. */
export interface CumsumProblem extends Lines {
  reverse: boolean
}

/** y[j] = x[0] + … + x[j] along the middle axis of [outer, n, inner]; reversed: x[j] + … + x[n - 1]. */
export const cumsum = specFor('f32')
/** The same of int32, which wraps around. */
export const cumsumInt = specFor('i32')

function specFor(dtype: 'f32' | 'i32'): KernelSpec<CumsumProblem> {
  return {
    name: dtype === 'f32' ? 'cumsum' : 'cumsumInt',
    bindings: [
      { name: 'x', access: 'read', dtype },
      { name: 'y', access: 'read_write', dtype },
    ],
    params: ['outer', 'n', 'inner'].map((name) => ({ name, type: 'u32' })),
    variants: [
      {
        name: 'direct',
        source: direct,
        constants: ({ outer, inner, reverse }) => {
          const lineVec = inner % 4 === 0 ? 4 : 1
          return {
            Element: lineVec === 4 ? `vec4<${dtype}>` : dtype,
            WORKGROUP: threadsFor((outer * inner) / lineVec),
            LINE_VEC: lineVec,
            REVERSE: reverse,
          }
        },
        grid: ({ outer, inner }, { LINE_VEC, WORKGROUP }) =>
          grid1d(ceilDiv((outer * inner) / Number(LINE_VEC), Number(WORKGROUP))),
      },
      {
        name: 'workgroup',
        source: workgroup,
        constants: ({ reverse }) => ({ Scalar: dtype, REVERSE: reverse }),
        grid: ({ outer, inner }) => grid1d(outer * inner),
      },
    ],
    choose,
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: ({ outer, n, inner }) => 8 * outer * n * inner,
  }
}

function choose(device: Capabilities, { outer, n, inner }: CumsumProblem): string {
  if (device.software || n <= 64) return 'direct'
  // Lines side by side are read coalesced by neighbouring threads, if there are enough of them to fill the device.
  return inner >= 32 && outer * inner >= 4096 ? 'direct' : 'workgroup'
}
