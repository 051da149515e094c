import { branchStrides, type Constants, type KernelSpec, SCALAR_BYTES, type Scalar, scalars, writes } from '../spec.ts'
import {
  chooseReduction,
  outputs,
  type Reduction,
  reductionParams,
  reductionVariants,
  vec4Columns,
  vec4Rows,
} from './reduction.ts'
import sumDirect from './sumDirect.wgsl'
import sumRows from './sumRows.wgsl'
import sumWorkgroup from './sumWorkgroup.wgsl'

/** A sum of the elements times `scale`, of which 1 / n gives the mean. Sums of int32 wrap and take the scale 1. */
export interface Sum extends Reduction {
  scale: number
}

function makeSum(name: string, dtype: 'f32' | 'i32', input: Scalar = dtype): KernelSpec<Sum> {
  const quad = `vec4<${dtype}>`
  const columns = (problem: Sum): Constants & { WIDTH: number } =>
    vec4Columns(problem)
      ? { Scalar: dtype, Input: `vec4<${input}>`, Value: quad, WIDTH: 4 }
      : { Scalar: dtype, Input: input, Value: dtype, WIDTH: 1 }
  return {
    name,
    bindings: [{ name: 'input', access: 'read', dtype: input, offset: 'offset' }, ...writes(dtype, 'output')],
    params: [branchStrides(2), ...reductionParams, ...scalars('f32', 'scale')],
    variants: reductionVariants({
      ...{ direct: sumDirect, rows: sumRows, workgroup: sumWorkgroup },
      directConstants: columns,
      rowConstants: { Scalar: dtype, Input: `vec4<${input}>`, Quad: quad },
      groupConstants: (problem) =>
        vec4Rows(problem)
          ? {
              ...{ Scalar: dtype, Input: `vec4<${input}>`, Value: quad, Output: dtype, Parts: quad },
              ...{ PARTS: 4, WIDTH: 1, ALONG: 4 },
            }
          : columns(problem),
    }),
    choose: chooseReduction,
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: (problem) => SCALAR_BYTES[input] * problem.outer * problem.n * problem.inner + 4 * outputs(problem),
  }
}

/** output [outer, chunks, inner] = the sums of float32 along an axis. */
export const sum = makeSum('sum', 'f32')
/** output [outer, chunks, inner] = the sums of float16 along an axis, in float32. */
export const sumHalf = makeSum('sumHalf', 'f32', 'f16')
/** output [outer, chunks, inner] = the sums of int32 along an axis. */
export const sumInt = makeSum('sumInt', 'i32')
