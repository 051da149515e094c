// Copies one run of neighbours in memory, or one element to all places of a run (STEP 0), and converts to Target. Workgroups share
// out as in unary.wgsl.
alias Source = u32;
alias Target = u32;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
const SOURCE_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, sourceStrides: array<vec4<u32>, 2>, targetStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, sourceStep: u32, sourceOffset: u32, targetStep: u32,
  targetOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<vec4<Source>>; // [inner], or one element
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Target>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atSource = own.x + params.sourceOffset;
  let atTarget = (own.y + params.targetOffset) / 4u;
  var v = vec4(Target(source[atSource / 4u][atSource % 4u]));
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (SOURCE_STEP == 1u) { v = vec4<Target>(source[atSource / 4u + i]); }
    if (!TAIL || i < params.inner / 4u) {
      out[atTarget + i] = v;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atTarget + i][j] = v[j]; }
    }
  }
}
