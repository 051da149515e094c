// Maximum along a contiguous axis and the index of its first occurrence: a thread for each output, vec4 loads, the four
// components apart until the end. Every offset, stride and length is a multiple of 4.

alias Scalar = f32;
alias Quad = vec4<f32>;

struct Params {
  outer: u32,
  n: u32,
  inner: u32,
  chunk: u32,
  chunks: u32,
  offset: u32,
  outerStride: u32,
  nStride: u32,
  innerStride: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Quad>;
@group(0) @binding(1) var<storage, read_write> values: array<Scalar>;
@group(0) @binding(2) var<storage, read_write> indices: array<i32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * 32 + local;
  if (index >= params.outer * params.chunks * params.inner) {
    return;
  }
  let piece = index / params.inner;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let start = (params.offset + row * params.outerStride + (index % params.inner) * params.innerStride) / 4;
  let end = min(first + params.chunk, params.n) / 4;

  var best = input[start + first / 4];
  // Where each component found its best, in quads.
  var quads = vec4i(i32(first / 4));
  for (var k = first / 4 + 1; k < end; k++) {
    let value = input[start + k];
    quads = select(quads, vec4i(i32(k)), value > best);
    best = max(best, value);
  }
  let found = quads * 4 + vec4i(0, 1, 2, 3);
  let value = max(max(best.x, best.y), max(best.z, best.w));
  let candidates = select(vec4i(0x7fffffff), found, best == Quad(value));
  values[index] = value;
  // NaN equals nothing; its index must still lie in the axis.
  indices[index] = min(min(min(candidates.x, candidates.y), min(candidates.z, candidates.w)), i32(end * 4 - 1));
}
