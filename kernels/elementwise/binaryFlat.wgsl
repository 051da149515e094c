// out = a op b, where each operand is one run of neighbours in memory, or one element (STEP 0). Workgroups share out as in unary.wgsl.
alias Scalar = f32;
alias Value = vec4<Scalar>;
const OP: u32 = 0u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
// The vec4s that a thread loads and stores at a time: two of float16 make 16 bytes.
const PARTS: u32 = 1u;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;

const ADD: u32 = 0u; const SUB: u32 = 1u; const MUL: u32 = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<array<vec4<Scalar>, PARTS>>; // [inner], or one element
@group(0) @binding(1) var<storage, read> b: array<array<vec4<Scalar>, PARTS>>; // [inner], or one element
@group(0) @binding(2) var<storage, read_write> out: array<array<vec4<Scalar>, PARTS>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

fn applyBinary(v: Value, w: Value) -> Value {
  switch OP {
    case ADD: { return v + w; }
    case SUB: { return v - w; }
    case MUL: { return v * w; }
    default: { return v / w; }
  }
}

// One element at all places.
fn repeated(v: Scalar) -> array<Value, PARTS> {
  var all: array<Value, PARTS>;
  all[0] = vec4(v);
  all[PARTS - 1u] = vec4(v);
  return all;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 4u * PARTS - 1u) / (4u * PARTS);
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atA = own.x + params.aOffset;
  let atB = own.y + params.bOffset;
  let atOut = own.z / (4u * PARTS);
  var v: array<Value, PARTS>;
  var w: array<Value, PARTS>;
  if (A_STEP == 0u) { v = repeated(a[atA / (4u * PARTS)][atA / 4u % PARTS][atA % 4u]); }
  if (B_STEP == 0u) { w = repeated(b[atB / (4u * PARTS)][atB / 4u % PARTS][atB % 4u]); }
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (A_STEP == 1u) { v = a[atA / (4u * PARTS) + i]; }
    if (B_STEP == 1u) { w = b[atB / (4u * PARTS) + i]; }
    var result: array<Value, PARTS>;
    result[0] = applyBinary(v[0], w[0]);
    if (PARTS > 1u) { result[PARTS - 1u] = applyBinary(v[PARTS - 1u], w[PARTS - 1u]); }
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] = result;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][0][j] = result[0][j]; }
    }
  }
}
