// Elementwise operations one after the other, each of the same elements. A step names its op, its operands a and b and its result by
// slots: a binding, the last step's result, or a number. Workgroups share out as in unary.wgsl.
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const ADD: u32 = 0u; const SUB: u32 = 1u; const MUL: u32 = 2u; const DIV: u32 = 3u; const NEG: u32 = 4u; const SQRT: u32 = 5u;
const LAST: u32 = 8u; const NUMBER: u32 = 9u;

struct Params {
  steps: array<vec4<u32>, 15>, // two steps each: 4 bits of op, a, b and result, and then the bits of the number
  length: u32, count: u32,
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

fn loadSlot(slot: u32, i: u32, last: vec4<f32>, number: f32) -> vec4<f32> {
  switch slot {
    case 0u: { return t0[i]; }
    case 1u: { return t1[i]; }
    case 2u: { return t2[i]; }
    case 3u: { return t3[i]; }
    case 4u: { return t4[i]; }
    case 5u: { return t5[i]; }
    case 6u: { return t6[i]; }
    case 7u: { return t7[i]; }
    case LAST: { return last; }
    default: { return vec4(number); }
  }
}

fn storeSlot(slot: u32, i: u32, v: vec4<f32>) {
  switch slot {
    case 0u: { t0[i] = v; }
    case 1u: { t1[i] = v; }
    case 2u: { t2[i] = v; }
    case 3u: { t3[i] = v; }
    case 4u: { t4[i] = v; }
    case 5u: { t5[i] = v; }
    case 6u: { t6[i] = v; }
    case 7u: { t7[i] = v; }
    default: {}
  }
}

fn storeElement(slot: u32, i: u32, j: u32, v: f32) {
  switch slot {
    case 0u: { t0[i][j] = v; }
    case 1u: { t1[i][j] = v; }
    case 2u: { t2[i][j] = v; }
    case 3u: { t3[i][j] = v; }
    case 4u: { t4[i][j] = v; }
    case 5u: { t5[i][j] = v; }
    case 6u: { t6[i][j] = v; }
    case 7u: { t7[i][j] = v; }
    default: {}
  }
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
    var last = vec4(0.0);
    for (var k = 0u; k < params.length; k++) {
      let word = params.steps[k / 2u][k % 2u * 2u];
      let number = bitcast<f32>(params.steps[k / 2u][k % 2u * 2u + 1u]);
      let v = loadSlot((word >> 4u) & 15u, i, last, number);
      let w = loadSlot((word >> 8u) & 15u, i, last, number);
      last = applyStep(word & 15u, v, w);
      let slot = (word >> 12u) & 15u;
      if (!TAIL || i < params.count / 4u) {
        storeSlot(slot, i, last);
      } else {
        for (var j = 0u; j < params.count % 4u; j++) { storeElement(slot, i, j, last[j]); }
      }
    }
  }
}
