// out = 1 where a op b holds, else 0, for operands with any strides. A thread takes RUN neighbouring elements of one row.
alias Stored = f32;
alias Scalar = f32;
alias Wide = Scalar;
alias Bits = u32;
alias Ints = i32;
alias Truth = bool;
const FLOAT: bool = true;
const OP: u32 = 0u;
const RUN: u32 = 32u;

const EQ = 0u; const NE = 1u; const LT = 2u; const LE = 3u; const GT = 4u; const GE = 5u; const AND = 6u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Stored>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> b: array<Stored>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read_write> out: array<i32>; // [dims, inner], row-major
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
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
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  let outRow = own.z + row * params.inner;
  for (var i = start; i < end; i++) {
    let v = bitcast<Bits>(Wide(a[atA + i * params.aStep]));
    let w = bitcast<Bits>(Wide(b[atB + i * params.bStep]));
    out[outRow + i] = i32(applyCompare(v, w));
  }
}
