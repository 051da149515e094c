// out = 1 where a op b holds, else 0, where each operand is one run of neighbours in memory, or one element (STEP 0). Workgroups
// share out as in elementwise/unary.wgsl.
alias Stored = f32;
alias Scalar = f32;
alias Wide = vec4<Scalar>;
alias Bits = vec4<u32>;
alias Ints = vec4<i32>;
alias Truth = vec4<bool>;
const FLOAT: bool = true;
const OP: u32 = 0u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;

const EQ = 0u; const NE = 1u; const LT = 2u; const LE = 3u; const GT = 4u; const GE = 5u; const AND = 6u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(1) var<storage, read> b: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(2) var<storage, read_write> out: array<vec4<i32>>; // [inner]
@group(1) @binding(0) var<uniform> params: Params;

// The order of numbers as integers, for floats by their bits, since drivers take subnormals for 0. -0 and 0 are one number.
fn keyOf(v: Bits) -> Ints {
  let word = bitcast<Ints>(v);
  if (!FLOAT) { return word; }
  return select(word, -(word & Ints(0x7fffffff)), word < Ints(0));
}

// The test is of the bits because compilers may assume that there is no NaN.
fn isNaNWord(v: Bits) -> Truth {
  return Truth(FLOAT) & ((v & Bits(0x7fffffffu)) > Bits(0x7f800000u));
}

fn applyCompare(v: Bits, w: Bits) -> Truth {
  let a = keyOf(v);
  let b = keyOf(w);
  let ordered = !(isNaNWord(v) | isNaNWord(w));
  switch OP {
    case EQ: { return ordered & (a == b); }
    case NE: { return !(ordered & (a == b)); }
    case LT: { return ordered & (a < b); }
    case LE: { return ordered & (a <= b); }
    case GT: { return ordered & (a > b); }
    case GE: { return ordered & (a >= b); }
    case AND: { return (a != Ints(0)) & (b != Ints(0)); }
    default: { return (a != Ints(0)) | (b != Ints(0)); }
  }
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
  let atOut = own.z / 4u;
  var v = bitcast<Bits>(vec4(Scalar(a[atA / 4u][atA % 4u])));
  var w = bitcast<Bits>(vec4(Scalar(b[atB / 4u][atB % 4u])));
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (A_STEP == 1u) { v = bitcast<Bits>(Wide(a[atA / 4u + i])); }
    if (B_STEP == 1u) { w = bitcast<Bits>(Wide(b[atB / 4u + i])); }
    let result = vec4<i32>(applyCompare(v, w));
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] = result;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][j] = result[j]; }
    }
  }
}
