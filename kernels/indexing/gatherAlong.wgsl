// output[o, j, i] = x[o, index[o, j, i], i], and `missing` where the index lies outside. Elements are moved as bits. A thread takes one
// element, or four neighbours (Value = vec4) that share an index.

alias Element = u32;
alias Value = Element;
// The type that the bits of `missing` are read as.
alias Carrier = u32;
const WIDTH: u32 = 1u;

struct Params {
  outer: u32, n: u32, m: u32, inner: u32, indexOffset: u32, indexOuter: u32, indexStride: u32, indexInner: u32,
  missing: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Value>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> index: array<i32>; // [outer, m, inner] by strides
@group(0) @binding(2) var<storage, read_write> output: array<Value>; // [outer, m, inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  let inner = params.inner / WIDTH;
  if (at >= params.outer * params.m * inner) { return; }
  let row = at / inner;
  let i = at - row * inner;
  let o = row / params.m;
  let j = row - o * params.m;
  // A negative index becomes a large number, which lies outside too.
  let k = u32(index[params.indexOffset + o * params.indexOuter + j * params.indexStride + i * params.indexInner]);
  var value = Value(Element(bitcast<Carrier>(params.missing)));
  if (k < params.n) { value = x[(o * params.n + k) * inner + i]; }
  output[at] = value;
}
