// out = 1 where x op number holds, or where x is NaN or finite, else 0. Workgroups share out as in elementwise/unary.wgsl.
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

const EQ = 0u; const NE = 1u; const LT = 2u; const LE = 3u; const GT = 4u; const GE = 5u; const IS_NAN = 8u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, number: u32, // the bits of the number
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> out: array<vec4<i32>>; // [count]
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

fn compareNumber(v: Bits, w: Bits) -> Truth {
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
    case IS_NAN: { return isNaNWord(v); }
    default: { return Truth(!FLOAT) | ((v & Bits(0x7fffffffu)) < Bits(0x7f800000u)); }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / 4u; // the first elements of this branch's operands
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let v = vec4<i32>(compareNumber(bitcast<Bits>(Wide(x[own.x + i])), Bits(params.number)));
    if (!TAIL || i < params.count / 4u) {
      out[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.y + i][j] = v[j]; }
    }
  }
}
