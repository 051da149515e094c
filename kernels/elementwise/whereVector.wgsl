// out = condition != 0 ? a : b, row by row in vec4s. Along a row each operand moves with the output (STEP 1) or stays at one element
// (STEP 0). A thread takes RUN neighbouring vec4s of one row. Values are moved as words,
// whatever their type. NaN is not 0.
alias Condition = f32;
alias Word = u32;
alias Value = vec4<f32>;
alias Bits = vec4<u32>;
alias Truth = vec4<bool>;
const RUN: u32 = 16u;
const CONDITION_STEP: u32 = 1u;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, conditionStrides: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>,
  bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, conditionStep: u32, conditionOffset: u32, aStep: u32, aOffset: u32, bStep: u32,
  bOffset: u32,
}

@group(0) @binding(0) var<storage, read> condition: array<vec4<Condition>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> a: array<vec4<Word>>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read> b: array<vec4<Word>>; // [dims, inner] by strides
@group(0) @binding(3) var<storage, read_write> out: array<vec4<Word>>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits but for the sign, since drivers may take subnormals for 0.
fn holdsFor(c: Value) -> Truth {
  return (bitcast<Bits>(c) & Bits(0x7fffffffu)) != Bits(0u);
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
  var atCondition = own.x + params.conditionOffset;
  var atA = own.y + params.aOffset;
  var atB = own.z + params.bOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atCondition += at * params.conditionStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  var c = vec4(f32(condition[atCondition / 4u][atCondition % 4u]));
  var v = vec4(a[atA / 4u][atA % 4u]);
  var w = vec4(b[atB / 4u][atB % 4u]);
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, width);
  let outRow = own.w / 4u + row * width;
  for (var i = start; i < end; i++) {
    if (CONDITION_STEP == 1u) { c = Value(condition[atCondition / 4u + i]); }
    if (A_STEP == 1u) { v = a[atA / 4u + i]; }
    if (B_STEP == 1u) { w = b[atB / 4u + i]; }
    let result = select(w, v, holdsFor(c));
    out[outRow + i] = result;
  }
}
