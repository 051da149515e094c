// out += x, for x with any strides. A thread takes RUN neighbouring elements of one row.
alias Scalar = f32;
const RUN: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, xStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, xStep: u32, xOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Scalar>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<Scalar>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
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
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  let outRow = own.y + row * params.inner;
  for (var i = start; i < end; i++) { out[outRow + i] += x[atX + i * params.xStep]; }
}
