// Moves elements row by row in vec4s and converts them to Target. Rows of the target are contiguous; rows of the source are so too
// (STEP 1), or are one element (STEP 0). A thread takes RUN neighbouring vec4s of one row.
alias Source = u32;
alias Target = u32;
const RUN: u32 = 16u;
const SOURCE_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, sourceStrides: array<vec4<u32>, 2>, targetStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, sourceStep: u32, sourceOffset: u32, targetStep: u32,
  targetOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<vec4<Source>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Target>>; // [dims, inner] by strides
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let width = params.inner / 4u;
  let runs = (width + RUN - 1u) / RUN;
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
  var v = vec4(Target(source[atSource / 4u][atSource % 4u]));
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, width);
  for (var i = start; i < end; i++) {
    if (SOURCE_STEP == 1u) { v = vec4<Target>(source[atSource / 4u + i]); }
    out[atTarget / 4u + i] = v;
  }
}
