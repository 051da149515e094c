// PROVISIONAL: to be replaced by kernels/copy and kernels/elementwise as soon as they land.
import { ceilDiv, grid1d, type KernelSpec } from '../kernels/spec.ts'
import { base, run } from './run.ts'
import { rowMajorStrides } from './shape.ts'
import type { Tensor } from './tensor.ts'

const header = `struct Params { size: u32, srcOffset: u32, dstOffset: u32, accumulate: u32, shape: array<vec4<u32>, 2>, srcStrides: array<vec4<u32>, 2>, dstStrides: array<vec4<u32>, 2> }
@group(0) @binding(0) var<storage, read> src: array<TYPE>;
@group(0) @binding(1) var<storage, read_write> dst: array<TYPE>;
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let i = (wid.y * n.x + wid.x) * 64u + lid;
  if (i >= params.size) { return; }
  var rest = i; var s = params.srcOffset; var d = params.dstOffset;
  for (var k = 7; k >= 0; k--) {
    let dim = params.shape[k / 4][k % 4]; let at = rest % dim; rest /= dim;
    s += at * params.srcStrides[k / 4][k % 4]; d += at * params.dstStrides[k / 4][k % 4];
  }
  if (params.accumulate == 1u) { dst[d] += src[s]; } else { dst[d] = src[s]; }
}`
const make = (type: string): KernelSpec => ({
  name: `provisionalCopy-${type}`,
  bindings: [
    { name: 'src', access: 'read', dtype: 'f32' },
    { name: 'dst', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    ...['size', 'srcOffset', 'dstOffset', 'accumulate'].map((name) => ({ name, type: 'u32' as const })),
    ...['shape', 'srcStrides', 'dstStrides'].map((name) => ({ name, type: 'u32' as const, length: 8 })),
  ],
  variants: [{ name: 'direct', source: header.replaceAll('TYPE', type), grid: (p: any) => grid1d(ceilDiv(p.size, 64)) }],
  flops: () => 0,
  bytes: () => 0,
})
const specs = { float32: make('f32'), int32: make('i32') }
const pad = (a: readonly number[], fill: number) => [...Array(8 - a.length).fill(fill), ...a]
function go(src: Tensor, dst: Tensor, accumulate: number) {
  const strides = dst.strides.length === src.shape.length ? dst.strides : rowMajorStrides(src.shape)
  run(
    specs[src.dtype],
    {
      size: src.size,
      srcOffset: src.offset,
      dstOffset: dst.offset,
      accumulate,
      shape: pad(src.shape, 1),
      srcStrides: pad(src.strides, 0),
      dstStrides: pad(strides, 0),
    },
    [base(src), base(dst)],
  )
}
/** Copies values of any view into another of the same shape. */
export function copyInto(source: Tensor, target: Tensor): void {
  go(source, target, 0)
}
/** target += value, in place. */
export function addInto(target: Tensor, value: Tensor): void {
  go(value, target, 1)
}
