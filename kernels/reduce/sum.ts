import { branchStrides, type Constants, ceilDiv, grid1d, type KernelSpec, SCALAR_BYTES, type Scalar } from '../spec.ts'
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
import sumDirect from './sumDirect.wgsl'
import sumRows from './sumRows.wgsl'
import sumWorkgroup from './sumWorkgroup.wgsl'

/** A sum of the elements times `scale` (1 / n gives the mean). Sums of int32 wrap and take the scale 1. */
export interface Sum extends Reduction {
  scale: number
}

function makeSum(name: string, dtype: 'f32' | 'i32', input: Scalar = dtype): KernelSpec<Sum> {
  const quad = `vec4<${dtype}>`
  const value = (problem: Sum): Constants =>
    vec4Columns(problem)
      ? { Scalar: dtype, Input: `vec4<${input}>`, Value: quad, WIDTH: 4 }
      : { Scalar: dtype, Input: input, Value: dtype, WIDTH: 1 }
  return {
    name,
    bindings: [
      { name: 'input', access: 'read', dtype: input, offset: 'offset' },
      { name: 'output', access: 'read_write', dtype },
    ],
    params: [branchStrides(2), ...reductionParams, { name: 'scale', type: 'f32' }],
    variants: [
      {
        name: 'direct',
        source: sumDirect,
        constants: (problem, device) => ({ ...value(problem), WORKGROUP: directThreads(device) }),
        grid: (problem, { WIDTH, WORKGROUP }) => grid1d(ceilDiv(outputs(problem) / Number(WIDTH), Number(WORKGROUP))),
      },
      {
        name: 'directRows',
        source: sumRows,
        supports: (_, problem) => vec4Rows(problem),
        constants: (_, device) => ({
          Scalar: dtype,
          Input: `vec4<${input}>`,
          Quad: quad,
          WORKGROUP: directThreads(device),
        }),
        grid: (problem, { WORKGROUP }) => grid1d(ceilDiv(outputs(problem), Number(WORKGROUP))),
      },
      {
        name: 'workgroup',
        source: sumWorkgroup,
        supports: (device) => device.maxInvocations >= 256,
        constants: (problem) => {
          const columns = workgroupColumns(problem)
          return { ...value(problem), COLUMNS: columns, LANES: 256 / columns }
        },
        grid: (problem, { WIDTH, COLUMNS }) =>
          grid1d(problem.outer * problem.chunks * ceilDiv(problem.inner / Number(WIDTH), Number(COLUMNS))),
      },
    ],
    choose: (device, problem) =>
      !prefersDirect(device, problem) && device.maxInvocations >= 256
        ? 'workgroup'
        : vec4Rows(problem)
          ? 'directRows'
          : 'direct',
    flops: ({ outer, n, inner }) => outer * n * inner,
    bytes: (problem) => SCALAR_BYTES[input] * problem.outer * problem.n * problem.inner + 4 * outputs(problem),
  }
}

/** Sum of float32 along an axis. */
export const sum = makeSum('sum', 'f32')
/** Sum of float16 along an axis, in float32. */
export const sumHalf = makeSum('sumHalf', 'f32', 'f16')
/** Sum of int32 along an axis. */
export const sumInt = makeSum('sumInt', 'i32')
