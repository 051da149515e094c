import type { AxisView } from '../axisView.ts'
import { ceilDiv, grid1d, type KernelSpec, reads, scalars, writes } from '../spec.ts'
import maxBackwardSource from './maxBackward.wgsl'
import maxCombineSource from './maxCombine.wgsl'
import maxDirect from './maxDirect.wgsl'
import maxRows from './maxRows.wgsl'
import maxWorkgroup from './maxWorkgroup.wgsl'
import {
  chooseReduction,
  outputs,
  type Reduction,
  reductionParams,
  reductionVariants,
  vec4Columns,
  vec4Rows,
} from './reduction.ts'

/** The pieces of a first pass, row-major [outer, chunks, inner]. */
export interface MaxCombine {
  outer: number
  chunks: number
  inner: number
}

function makeMax(name: string, dtype: 'f32' | 'i32', MIN = false): KernelSpec<Reduction> {
  const quad = `vec4<${dtype}>`
  const types = { Scalar: dtype, FLOAT: dtype === 'f32', MIN }
  return {
    name,
    bindings: [...reads(dtype, 'input'), ...writes(dtype, 'values'), ...writes('i32', 'indices')],
    params: reductionParams,
    variants: reductionVariants({
      ...{ direct: maxDirect, rows: maxRows, workgroup: maxWorkgroup },
      directConstants: (problem) =>
        vec4Columns(problem)
          ? { ...types, Value: quad, Index: 'vec4<i32>', Bits: 'vec4<u32>', Truths: 'vec4<bool>', WIDTH: 4 }
          : { ...types, Value: dtype, Index: 'i32', Bits: 'u32', Truths: 'bool', WIDTH: 1 },
      rowConstants: { ...types, Value: quad },
      groupConstants: (problem) => (vec4Rows(problem) ? { ...types, VEC: 4, Element: quad } : types),
    }),
    choose: chooseReduction,
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: (problem) => 4 * (problem.outer * problem.n * problem.inner + 2 * outputs(problem)),
  }
}

function makeMaxCombine(name: string, dtype: 'f32' | 'i32', MIN = false): KernelSpec<MaxCombine> {
  return {
    name,
    bindings: [
      ...reads(dtype, 'pieceValues'),
      ...reads('i32', 'pieceIndices'),
      ...writes(dtype, 'values'),
      ...writes('i32', 'indices'),
    ],
    params: scalars('u32', 'outer', 'chunks', 'inner'),
    variants: [
      {
        name: 'direct',
        source: maxCombineSource,
        constants: () => ({ Scalar: dtype, FLOAT: dtype === 'f32', MIN }),
        grid: ({ outer, inner }) => grid1d(ceilDiv(outer * inner, 64)),
      },
    ],
    flops: ({ outer, chunks, inner }) => outer * chunks * inner,
    bytes: ({ outer, chunks, inner }) => 8 * outer * inner * (chunks + 1),
  }
}

/** The maxima of float32 along an axis, and the indices along the whole axis of their first occurrences; NaN is above all. */
export const max = makeMax('max', 'f32')
/** The maxima of int32 along an axis, and the indices of their first occurrences. */
export const maxInt = makeMax('maxInt', 'i32')
/** The minima of float32 along an axis, and the indices along the whole axis of their first occurrences; NaN is below all. */
export const min = makeMax('min', 'f32', true)
/** The minima of int32 along an axis, and the indices of their first occurrences. */
export const minInt = makeMax('minInt', 'i32', true)
/** The second pass of a maximum of float32 in pieces: values and indices [outer, inner]. */
export const maxCombine = makeMaxCombine('maxCombine', 'f32')
/** The second pass of a maximum of int32 in pieces. */
export const maxCombineInt = makeMaxCombine('maxCombineInt', 'i32')
/** The second pass of a minimum of float32 in pieces. */
export const minCombine = makeMaxCombine('minCombine', 'f32', true)
/** The second pass of a minimum of int32 in pieces. */
export const minCombineInt = makeMaxCombine('minCombineInt', 'i32', true)

/** The gradient of a maximum's input [outer, n, inner] from the saved indices and the output's gradient, both [outer, inner]. */
export const maxBackward: KernelSpec<AxisView> = {
  name: 'maxBackward',
  bindings: [...reads('i32', 'indices'), ...reads('f32', 'gradOutput'), ...writes('f32', 'gradInput')],
  params: scalars('u32', 'outer', 'n', 'inner'),
  variants: [
    { name: 'direct', source: maxBackwardSource, grid: ({ outer, n, inner }) => grid1d(ceilDiv(outer * n * inner, 256)) },
  ],
  flops: () => 0,
  bytes: ({ outer, n, inner }) => 4 * outer * inner * (n + 2),
}
