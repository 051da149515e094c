// out += x, where x is one run of neighbours in memory, or one element (STEP 0). Workgroups share out as in unary.wgsl.
alias Scalar = f32;
alias Value = vec4<Scalar>;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
// The vec4s that a thread loads and stores at a time: two of float16 make 16 bytes.
const PARTS: u32 = 1u;
const X_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, xStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, xStep: u32, xOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<array<vec4<Scalar>, PARTS>>; // [inner], or one element
@group(0) @binding(1) var<storage, read_write> out: array<array<vec4<Scalar>, PARTS>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

// One element at all places.
fn repeated(v: Scalar) -> array<Value, PARTS> {
  var all: array<Value, PARTS>;
  all[0] = vec4(v);
  all[PARTS - 1u] = vec4(v);
  return all;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 4u * PARTS - 1u) / (4u * PARTS);
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atX = own.x + params.xOffset;
  let atOut = own.y / (4u * PARTS);
  var v: array<Value, PARTS>;
  if (X_STEP == 0u) { v = repeated(x[atX / (4u * PARTS)][atX / 4u % PARTS][atX % 4u]); }
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (X_STEP == 1u) { v = x[atX / (4u * PARTS) + i]; }
    if (!TAIL || i < params.inner / 4u) {
      var sum = out[atOut + i];
      sum[0] += v[0];
      if (PARTS > 1u) { sum[PARTS - 1u] += v[PARTS - 1u]; }
      out[atOut + i] = sum;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][0][j] += v[0][j]; }
    }
  }
}
