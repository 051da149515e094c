// Moves elements from any strides to any strides and converts them to Target. A thread takes RUN neighbouring elements of one row.
alias Source = u32;
alias Target = u32;
const RUN: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, sourceStrides: array<vec4<u32>, 2>, targetStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, sourceStep: u32, sourceOffset: u32, targetStep: u32,
  targetOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Source>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<Target>; // [dims, inner] by strides
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atSource = own.x + params.sourceOffset;
  var atTarget = own.y + params.targetOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atSource += at * params.sourceStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atTarget += at * params.targetStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  for (var i = start; i < end; i++) {
    out[atTarget + i * params.targetStep] = Target(source[atSource + i * params.sourceStep]);
  }
}
