// out = a + weight (b - a), where each operand is one run of neighbours in memory, or one element (STEP 0). Workgroups share out as
// in elementwise/unary.wgsl.
alias Stored = f32;
alias Value = vec4<f32>;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
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

@group(0) @binding(0) var<storage, read> a: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(1) var<storage, read> b: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(2) var<storage, read> weight: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(3) var<storage, read_write> out: array<vec4<Stored>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

// From the nearer end, so that weights of 0 and 1 give the ends themselves.
fn between(v: Value, w: Value, t: Value) -> Value {
  return select(w - (w - v) * (1.0 - t), v + t * (w - v), t < Value(0.5));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.inner + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let atA = own.x + params.aOffset;
  let atB = own.y + params.bOffset;
  let atWeight = own.z + params.weightOffset;
  let atOut = own.w / 4u;
  var v = vec4(f32(a[atA / 4u][atA % 4u]));
  var w = vec4(f32(b[atB / 4u][atB % 4u]));
  var t = vec4(f32(weight[atWeight / 4u][atWeight % 4u]));
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (A_STEP == 1u) { v = vec4<f32>(a[atA / 4u + i]); }
    if (B_STEP == 1u) { w = vec4<f32>(b[atB / 4u + i]); }
    if (WEIGHT_STEP == 1u) { t = vec4<f32>(weight[atWeight / 4u + i]); }
    let result = vec4<Stored>(between(v, w, t));
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] = result;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][j] = result[j]; }
    }
  }
}
