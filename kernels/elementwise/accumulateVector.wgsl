// out += x, row by row in vec4s, for x with any strides. Along a row x moves with the output (STEP 1) or stays at one element (STEP
// 0). A thread takes RUN neighbouring vec4s of one row.
alias Scalar = f32;
const RUN: u32 = 16u;
const X_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, xStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, xStep: u32, xOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Scalar>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Scalar>>; // [dims, inner], row-major
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
  var atX = own.x + params.xOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    atX += rest % size * params.xStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    rest /= size;
  }
  var v = vec4(x[atX / 4u][atX % 4u]);
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, width);
  let outRow = own.y / 4u + row * width;
  for (var i = start; i < end; i++) {
    if (X_STEP == 1u) { v = x[atX / 4u + i]; }
    out[outRow + i] += v;
  }
}
