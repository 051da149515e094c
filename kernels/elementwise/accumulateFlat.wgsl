// out += x, where x is one run of neighbours in memory, or one element (STEP 0). Workgroups share out as in unary.wgsl.
alias Scalar = f32;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
const X_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, xStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, xStep: u32, xOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Scalar>>; // [inner], or one element
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Scalar>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atX = own.x + params.xOffset;
  let atOut = own.y / 4u;
  var v = vec4(x[atX / 4u][atX % 4u]);
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (X_STEP == 1u) { v = x[atX / 4u + i]; }
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] += v;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][j] += v[j]; }
    }
  }
}
