// Elementwise operations one after the other, each of the same elements. A step names its op, its operands a and b and its result by
// slots: a binding, the last step's result, or a number. Workgroups share out as in unary.wgsl.
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const ADD: u32 = 0u; const SUB: u32 = 1u; const MUL: u32 = 2u; const DIV: u32 = 3u; const NEG: u32 = 4u; const SQRT: u32 = 5u;

struct Params {
  steps: array<vec4<u32>, 15>, // two steps each: 4 bits of op, a, b and result, and then the bits of the number
  length: u32, count: u32,
  loads: u32, stores: u32, // a bit for each binding
}

@group(0) @binding(0) var<storage, read_write> t0: array<vec4<f32>>; // [count]
@group(0) @binding(1) var<storage, read_write> t1: array<vec4<f32>>; // [count]
@group(0) @binding(2) var<storage, read_write> t2: array<vec4<f32>>; // [count]
@group(0) @binding(3) var<storage, read_write> t3: array<vec4<f32>>; // [count]
@group(0) @binding(4) var<storage, read_write> t4: array<vec4<f32>>; // [count]
@group(0) @binding(5) var<storage, read_write> t5: array<vec4<f32>>; // [count]
@group(0) @binding(6) var<storage, read_write> t6: array<vec4<f32>>; // [count]
@group(0) @binding(7) var<storage, read_write> t7: array<vec4<f32>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The values of the tensors at one place, and the number of the step. A choice among them costs less than another load.
var<private> r: array<vec4<f32>, 9>;

fn has(slots: u32, slot: u32) -> bool {
  return ((slots >> slot) & 1u) != 0u;
}

fn applyStep(op: u32, v: vec4<f32>, w: vec4<f32>) -> vec4<f32> {
  switch op {
    case ADD: { return v + w; }
    case SUB: { return v - w; }
    case MUL: { return v * w; }
    case DIV: { return v / w; }
    case NEG: { return -v; }
    case SQRT: { return sqrt(v); }
    // max() may lose NaN, which must stay NaN.
    default: { return select(v, vec4(0.0), v <= vec4(0.0)); }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (has(params.loads, 0u)) { r[0] = t0[i]; }
    if (has(params.loads, 1u)) { r[1] = t1[i]; }
    if (has(params.loads, 2u)) { r[2] = t2[i]; }
    if (has(params.loads, 3u)) { r[3] = t3[i]; }
    if (has(params.loads, 4u)) { r[4] = t4[i]; }
    if (has(params.loads, 5u)) { r[5] = t5[i]; }
    if (has(params.loads, 6u)) { r[6] = t6[i]; }
    if (has(params.loads, 7u)) { r[7] = t7[i]; }
    for (var k = 0u; k < params.length; k++) {
      let word = params.steps[k / 2u][k % 2u * 2u];
      let number = bitcast<f32>(params.steps[k / 2u][k % 2u * 2u + 1u]);
      r[8] = vec4(number);
      r[word >> 12u] = applyStep(word & 15u, r[(word >> 4u) & 15u], r[(word >> 8u) & 15u]);
    }
    if (!TAIL || i < params.count / 4u) {
      if (has(params.stores, 0u)) { t0[i] = r[0]; }
      if (has(params.stores, 1u)) { t1[i] = r[1]; }
      if (has(params.stores, 2u)) { t2[i] = r[2]; }
      if (has(params.stores, 3u)) { t3[i] = r[3]; }
      if (has(params.stores, 4u)) { t4[i] = r[4]; }
      if (has(params.stores, 5u)) { t5[i] = r[5]; }
      if (has(params.stores, 6u)) { t6[i] = r[6]; }
      if (has(params.stores, 7u)) { t7[i] = r[7]; }
    } else {
      for (var j = 0u; j < params.count % 4u; j++) {
        if (has(params.stores, 0u)) { t0[i][j] = r[0][j]; }
        if (has(params.stores, 1u)) { t1[i][j] = r[1][j]; }
        if (has(params.stores, 2u)) { t2[i][j] = r[2][j]; }
        if (has(params.stores, 3u)) { t3[i][j] = r[3][j]; }
        if (has(params.stores, 4u)) { t4[i][j] = r[4][j]; }
        if (has(params.stores, 5u)) { t5[i][j] = r[5][j]; }
        if (has(params.stores, 6u)) { t6[i][j] = r[6][j]; }
        if (has(params.stores, 7u)) { t7[i][j] = r[7][j]; }
      }
    }
  }
}
