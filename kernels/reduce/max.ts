import type { KernelSpec } from '../spec.ts'
import { ceilDiv, grid1d } from '../spec.ts'
import maxBackwardSource from './maxBackward.wgsl'
import maxCombineSource from './maxCombine.wgsl'
import maxDirect from './maxDirect.wgsl'
import maxRows from './maxRows.wgsl'
import maxWorkgroup from './maxWorkgroup.wgsl'
import {
  directThreads,
  outputs,
  prefersDirect,
  type Reduction,
  reductionParams,
  vec4Columns,
  vec4Rows,
  workgroupColumns,
} from './reduction.ts'

/** Pieces of a first pass, row-major [outer, chunks, inner]. */
export interface MaxCombine {
  outer: number
  chunks: number
  inner: number
}

/** A row-major input [outer, n, inner] reduced along the middle. */
export interface MaxBackward {
  outer: number
  n: number
  inner: number
}

function makeMax(name: string, dtype: 'f32' | 'i32'): KernelSpec<Reduction> {
  const quad = `vec4<${dtype}>`
  const float = dtype === 'f32'
  return {
    name,
    bindings: [
      { name: 'input', access: 'read', dtype },
      { name: 'values', access: 'read_write', dtype },
      { name: 'indices', access: 'read_write', dtype: 'i32' },
    ],
    params: reductionParams,
    variants: [
      {
        name: 'direct',
        source: maxDirect,
        constants: (problem, device) => ({
          Scalar: dtype,
          FLOAT: float,
          WORKGROUP: directThreads(device),
          ...(vec4Columns(problem)
            ? { Value: quad, Index: 'vec4<i32>', Bits: 'vec4<u32>', Truths: 'vec4<bool>', WIDTH: 4 }
            : { Value: dtype, Index: 'i32', Bits: 'u32', Truths: 'bool', WIDTH: 1 }),
        }),
        grid: (problem, { WIDTH, WORKGROUP }) => grid1d(ceilDiv(outputs(problem) / Number(WIDTH), Number(WORKGROUP))),
      },
      {
        name: 'directRows',
        source: maxRows,
        supports: (_, problem) => vec4Rows(problem),
        constants: (_, device) => ({ Scalar: dtype, FLOAT: float, Quad: quad, WORKGROUP: directThreads(device) }),
        grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(outputs(problem), Number(WORKGROUP))),
      },
      {
        name: 'workgroup',
        source: maxWorkgroup,
        supports: (device) => device.maxInvocations >= 256,
        constants: (problem) => {
          const columns = workgroupColumns(problem)
          return { Scalar: dtype, FLOAT: float, COLUMNS: columns, LANES: 256 / columns }
        },
        grid: (problem, { COLUMNS }) => grid1d(problem.outer * problem.chunks * ceilDiv(problem.inner, Number(COLUMNS))),
      },
    ],
    choose: (device, problem) =>
      !prefersDirect(device, problem) && device.maxInvocations >= 256
        ? 'workgroup'
        : vec4Rows(problem)
          ? 'directRows'
          : 'direct',
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: (problem) => 4 * (problem.outer * problem.n * problem.inner + 2 * outputs(problem)),
  }
}

function makeMaxCombine(name: string, dtype: 'f32' | 'i32'): KernelSpec<MaxCombine> {
  return {
    name,
    bindings: [
      { name: 'pieceValues', access: 'read', dtype },
      { name: 'pieceIndices', access: 'read', dtype: 'i32' },
      { name: 'values', access: 'read_write', dtype },
      { name: 'indices', access: 'read_write', dtype: 'i32' },
    ],
    params: [
      { name: 'outer', type: 'u32' },
      { name: 'chunks', type: 'u32' },
      { name: 'inner', type: 'u32' },
    ],
    variants: [
      {
        name: 'direct',
        source: maxCombineSource,
        constants: () => ({ Scalar: dtype, FLOAT: dtype === 'f32' }),
        grid: ({ outer, inner }) => grid1d(ceilDiv(outer * inner, 64)),
      },
    ],
    flops: ({ outer, chunks, inner }) => outer * chunks * inner,
    bytes: ({ outer, chunks, inner }) => 8 * outer * inner * (chunks + 1),
  }
}

/** Maximum of float32 along an axis, and the index (along the whole axis) of its first occurrence; NaN is above all. */
export const max = makeMax('max', 'f32')
/** Maximum of int32 along an axis, and the index of its first occurrence. */
export const maxInt = makeMax('maxInt', 'i32')
/** Second pass of a maximum that was taken in pieces. */
export const maxCombine = makeMaxCombine('maxCombine', 'f32')
/** Second pass of a maximum of int32. */
export const maxCombineInt = makeMaxCombine('maxCombineInt', 'i32')

/** Writes the whole gradient of a maximum's input from the saved indices [outer, inner] and the output's gradient. */
export const maxBackward: KernelSpec<MaxBackward> = {
  name: 'maxBackward',
  bindings: [
    { name: 'indices', access: 'read', dtype: 'i32' },
    { name: 'gradOutput', access: 'read', dtype: 'f32' },
    { name: 'gradInput', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    { name: 'outer', type: 'u32' },
    { name: 'n', type: 'u32' },
    { name: 'inner', type: 'u32' },
  ],
  variants: [
    {
      name: 'direct',
      source: maxBackwardSource,
      grid: ({ outer, n, inner }) => grid1d(ceilDiv(outer * n * inner, 256)),
    },
  ],
  flops: () => 0,
  bytes: ({ outer, n, inner }) => 4 * outer * inner * (n + 2),
}
