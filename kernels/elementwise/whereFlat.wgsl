// out = condition != 0 ? a : b, where each operand is one run of neighbours in memory, or one element (STEP 0). Workgroups share out as
// in elementwise/unary.wgsl. Values are moved as words,
// whatever their type. NaN is not 0.
alias Condition = f32;
alias Word = u32;
alias Value = vec4<f32>;
alias Bits = vec4<u32>;
alias Truth = vec4<bool>;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
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

@group(0) @binding(0) var<storage, read> condition: array<vec4<Condition>>; // [inner], or one element
@group(0) @binding(1) var<storage, read> a: array<vec4<Word>>; // [inner], or one element
@group(0) @binding(2) var<storage, read> b: array<vec4<Word>>; // [inner], or one element
@group(0) @binding(3) var<storage, read_write> out: array<vec4<Word>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits but for the sign, since drivers may take subnormals for 0.
fn holdsFor(c: Value) -> Truth {
  return (bitcast<Bits>(c) & Bits(0x7fffffffu)) != Bits(0u);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atCondition = own.x + params.conditionOffset;
  let atA = own.y + params.aOffset;
  let atB = own.z + params.bOffset;
  let atOut = own.w / 4u;
  var c = vec4(f32(condition[atCondition / 4u][atCondition % 4u]));
  var v = vec4(a[atA / 4u][atA % 4u]);
  var w = vec4(b[atB / 4u][atB % 4u]);
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (CONDITION_STEP == 1u) { c = Value(condition[atCondition / 4u + i]); }
    if (A_STEP == 1u) { v = a[atA / 4u + i]; }
    if (B_STEP == 1u) { w = b[atB / 4u + i]; }
    let result = select(w, v, holdsFor(c));
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] = result;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][j] = result[j]; }
    }
  }
}
