// The second pass of a maximum or minimum: pieces [outer, chunks, inner] with their indices become [outer, inner]. Pieces lie in order, so the
// first of equal maxima has the smallest index.

alias Scalar = f32;
const FLOAT: bool = true;
// Whether the minimum is sought.
const MIN: bool = false;

struct Params { outer: u32, chunks: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> pieceValues: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(1) var<storage, read> pieceIndices: array<i32>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> values: array<Scalar>; // [outer, inner]
@group(0) @binding(3) var<storage, read_write> indices: array<i32>; // [outer, inner]
@group(1) @binding(0) var<uniform> params: Params;

// A value's rank, with NaN last and -0 and 0 alike; for minima the order is reversed but for NaN. It is made from the bits because
// compilers may assume that there is no NaN.
fn rank(v: Scalar) -> i32 {
  let bits = bitcast<i32>(v);
  if (!FLOAT) { return select(bits, ~bits, MIN); }
  let size = bits & 0x7fffffff;
  return select(select(size, -size, (bits < 0) != MIN), 0x7fffffff, size > 0x7f800000);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * 64 + local;
  if (index >= params.outer * params.inner) { return; }
  let start = (index / params.inner) * params.chunks * params.inner + index % params.inner;
  var at = start;
  for (var c = 1u; c < params.chunks; c++) {
    let candidate = start + c * params.inner;
    if (rank(pieceValues[candidate]) > rank(pieceValues[at])) { at = candidate; }
  }
  values[index] = pieceValues[at];
  indices[index] = pieceIndices[at];
}
