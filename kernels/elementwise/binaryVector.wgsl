// out = a op b, row by row in vec4s. Along a row each operand moves with the output (STEP 1) or stays at one element (STEP 0). A
// thread takes RUN neighbouring vec4s of one row.
alias Scalar = f32;
alias Value = vec4<Scalar>;
const OP: u32 = 0u;
const RUN: u32 = 16u;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;

const ADD: u32 = 0u; const SUB: u32 = 1u; const MUL: u32 = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<Scalar>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> b: array<vec4<Scalar>>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read_write> out: array<vec4<Scalar>>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

fn applyBinary(v: Value, w: Value) -> Value {
  switch OP {
    case ADD: { return v + w; }
    case SUB: { return v - w; }
    case MUL: { return v * w; }
    default: { return v / w; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let width = params.inner / 4u;
  let runs = (width + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atA = own.x + params.aOffset;
  var atB = own.y + params.bOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  var v = vec4(a[atA / 4u][atA % 4u]);
  var w = vec4(b[atB / 4u][atB % 4u]);
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, width);
  let outRow = own.z / 4u + row * width;
  for (var i = start; i < end; i++) {
    if (A_STEP == 1u) { v = a[atA / 4u + i]; }
    if (B_STEP == 1u) { w = b[atB / 4u + i]; }
    let result = applyBinary(v, w);
    out[outRow + i] = result;
  }
}
