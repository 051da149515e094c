// out = a + weight (b - a), row by row in vec4s. Along a row each operand moves with the output (STEP 1) or stays at one element
// (STEP 0). A thread takes RUN neighbouring vec4s of one row.
alias Stored = f32;
alias Value = vec4<f32>;
const RUN: u32 = 16u;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;
const WEIGHT_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  weightStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32, weightStep: u32,
  weightOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<Stored>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> b: array<vec4<Stored>>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read> weight: array<vec4<Stored>>; // [dims, inner] by strides
@group(0) @binding(3) var<storage, read_write> out: array<vec4<Stored>>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

// From the nearer end, so that weights of 0 and 1 give the ends themselves.
fn between(v: Value, w: Value, t: Value) -> Value {
  return select(w - (w - v) * (1.0 - t), v + t * (w - v), t < Value(0.5));
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
  var atWeight = own.z + params.weightOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atWeight += at * params.weightStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  var v = vec4(f32(a[atA / 4u][atA % 4u]));
  var w = vec4(f32(b[atB / 4u][atB % 4u]));
  var t = vec4(f32(weight[atWeight / 4u][atWeight % 4u]));
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, width);
  let outRow = own.w / 4u + row * width;
  for (var i = start; i < end; i++) {
    if (A_STEP == 1u) { v = vec4<f32>(a[atA / 4u + i]); }
    if (B_STEP == 1u) { w = vec4<f32>(b[atB / 4u + i]); }
    if (WEIGHT_STEP == 1u) { t = vec4<f32>(weight[atWeight / 4u + i]); }
    let result = vec4<Stored>(between(v, w, t));
    out[outRow + i] = result;
  }
}
