// The indices of running maxima along the lines of [outer, n, inner]: of equal ones the last, and the last NaN once there is one, as PyTorch
// has it. A thread takes a line.

const FLOAT: bool = true;
const WORKGROUP: u32 = 64u;

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read_write> indices: array<i32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

// The rank of an element, made from its bits: -0 and 0 are equal, and NaN is above all.
fn rankOf(word: u32) -> i32 {
  let bits = bitcast<i32>(word);
  if (!FLOAT) { return bits; }
  let size = bits & 0x7fffffff;
  return select(select(size, -size, bits < 0), 0x7fffffff, size > 0x7f800000);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (line >= params.outer * params.inner) { return; }
  var at = line / params.inner * params.n * params.inner + line % params.inner;
  var best = rankOf(x[at]);
  var found = 0u;
  for (var k = 0u; k < params.n; k++) {
    let rank = rankOf(x[at]);
    if (rank >= best) {
      best = rank;
      found = k;
    }
    indices[at] = i32(found);
    at += params.inner;
  }
}
