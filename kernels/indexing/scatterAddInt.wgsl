// sums[o, index[o, j, i], i] += src[o, j, i] for int32, which wraps around.

// Whether rows have more than one element, and whether there is more than one line; else there is nothing to divide.
const WIDE: bool = true;
const LINES: bool = true;
// The indices of a thread.
const EACH: u32 = 1;

struct Params {
  outer: u32, n: u32, m: u32, inner: u32, indexOffset: u32, indexOuter: u32, indexStride: u32, indexInner: u32,
}

@group(0) @binding(0) var<storage, read> src: array<i32>; // [outer, m, inner]
@group(0) @binding(1) var<storage, read> index: array<i32>; // [outer, m, inner] by strides
@group(0) @binding(2) var<storage, read_write> sums: array<atomic<i32>>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

fn addIntOne(at: u32) {
  if (at >= params.outer * params.m * params.inner) { return; }
  var row = at;
  if (WIDE) { row = at / params.inner; }
  let i = at - row * params.inner;
  var o = 0u;
  if (LINES) { o = row / params.m; }
  let j = row - o * params.m;
  let k = u32(index[params.indexOffset + o * params.indexOuter + j * params.indexStride + i * params.indexInner]);
  if (k < params.n) { atomicAdd(&sums[(o * params.n + k) * params.inner + i], src[at]); }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let first = (wid.y * groups.x + wid.x) * 64u * EACH + local;
  for (var e = 0u; e < EACH; e++) { addIntOne(first + 64u * e); }
}
