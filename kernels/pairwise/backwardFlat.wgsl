// out = grad * df(a, b)/da, or with OTHER grad * df(a, b)/db, where each operand is one run of neighbours in memory, or one element
// (STEP 0). Workgroups share out as in elementwise/unary.wgsl.
alias Stored = f32;
alias Value = vec4<f32>;
alias Bits = vec4<u32>;
alias Ints = vec4<i32>;
alias Truth = vec4<bool>;
const FLOAT: bool = true;
const OP: u32 = 0u;
const OTHER: bool = false;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
const GRAD_STEP: u32 = 1u;
const A_STEP: u32 = 1u;
const B_STEP: u32 = 1u;

const MINIMUM = 0u; const MAXIMUM = 1u; const ATAN2 = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, gradStrides: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, gradStep: u32, gradOffset: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(1) var<storage, read> a: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(2) var<storage, read> b: array<vec4<Stored>>; // [inner], or one element
@group(0) @binding(3) var<storage, read_write> out: array<vec4<Stored>>; // [inner]
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

// a mod b with the sign of b, as in NumPy and PyTorch. The remainder of the magnitudes is exact: their mantissas are divided as
// integers, 8 bits a turn.
fn remainderOf(v: Bits, w: Bits) -> Bits {
  if (!FLOAT) {
    let divisor = bitcast<Ints>(w);
    let rest = bitcast<Ints>(v) % select(divisor, Ints(1), divisor == Ints(0));
    return bitcast<Bits>(rest + select(Ints(0), divisor, (rest != Ints(0)) & ((rest ^ divisor) < Ints(0))));
  }
  let size = v & Bits(0x7fffffffu);
  let other = w & Bits(0x7fffffffu);
  let exponent = max(size >> Bits(23u), Bits(1u));
  let scale = max(other >> Bits(23u), Bits(1u));
  let mantissa = (size & Bits(0x7fffffu)) | select(Bits(0u), Bits(0x800000u), size >= Bits(0x800000u));
  let divisor = max((other & Bits(0x7fffffu)) | select(Bits(0u), Bits(0x800000u), other >= Bits(0x800000u)), Bits(1u));
  var left = select(Bits(0u), exponent - scale, exponent > scale);
  var rest = mantissa % divisor;
  while (any(left > Bits(0u))) {
    let turn = min(left, Bits(8u));
    rest = (rest << turn) % divisor;
    left -= turn;
  }
  // The rest, in units of 2^(scale - 150), as the bits of a float: its highest bit moves to bit 23, unless the number is subnormal.
  let shift = min(countLeadingZeros(max(rest, Bits(1u))) - Bits(8u), scale - Bits(1u));
  let word = select((rest << shift) + ((scale - shift - Bits(1u)) << Bits(23u)), Bits(0u), rest == Bits(0u));
  let found = select(word, size, size < other);
  let signed = found | (v & Bits(0x80000000u));
  let crosses = (found != Bits(0u)) & (((v ^ w) & Bits(0x80000000u)) != Bits(0u));
  let sum = select(signed, bitcast<Bits>(bitcast<Value>(signed) + bitcast<Value>(w)), crosses);
  let bad = isNaNWord(v) | isNaNWord(w) | (other == Bits(0u)) | (size >= Bits(0x7f800000u));
  return select(sum, Bits(0x7fc00000u), bad);
}

// The derivative by `own` of the smaller or larger one of two numbers: 1/2 at a tie, as in PyTorch.
fn shareOf(own: Bits, other: Bits, g: Value) -> Value {
  let chosen = select(keyOf(own) > keyOf(other), keyOf(own) < keyOf(other), Truth(OP == MINIMUM));
  let share = select(select(Value(0.0), 0.5 * g, keyOf(own) == keyOf(other)), g, chosen);
  return select(share, g, isNaNWord(own) | isNaNWord(other));
}

// The derivative by y of the angle of (x, y), x / (x^2 + y^2), or that by x, -y / (x^2 + y^2). Both are scaled against overflow.
fn angleSlope(y: Value, x: Value) -> Value {
  let larger = max(abs(x), abs(y));
  let endless = (bitcast<Bits>(larger) & Bits(0x7fffffffu)) == Bits(0x7f800000u);
  let scale = select(larger, Value(1.0), endless);
  let p = y / scale;
  let q = x / scale;
  return select(q, -p, Truth(OTHER)) / (p * p + q * q) / scale;
}

// -floor(a / b), the derivative of the remainder by b. a less the remainder is a multiple of b.
fn quotientSlope(v: Bits, w: Bits) -> Value {
  let a = bitcast<Value>(v);
  let b = bitcast<Value>(w);
  let endless = (w & Bits(0x7fffffffu)) == Bits(0x7f800000u);
  let below = (((v ^ w) & Bits(0x80000000u)) != Bits(0u)) & ((v & Bits(0x7fffffffu)) != Bits(0u));
  let whole = -round((a - bitcast<Value>(remainderOf(v, w))) / b);
  return select(whole, select(Value(0.0), Value(1.0), below), endless & ((v & Bits(0x7fffffffu)) < Bits(0x7f800000u)));
}

fn applyPairwiseBackward(g: Value, v: Bits, w: Bits) -> Value {
  switch OP {
    case MINIMUM, MAXIMUM: {
      if (OTHER) { return shareOf(w, v, g); }
      return shareOf(v, w, g);
    }
    case ATAN2: { return g * angleSlope(bitcast<Value>(v), bitcast<Value>(w)); }
    default: {
      if (OTHER) { return g * quotientSlope(v, w); }
      return g;
    }
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
  let atGrad = own.x + params.gradOffset;
  let atA = own.y + params.aOffset;
  let atB = own.z + params.bOffset;
  let atOut = own.w / 4u;
  var g = vec4(f32(grad[atGrad / 4u][atGrad % 4u]));
  var v = bitcast<Bits>(vec4(f32(a[atA / 4u][atA % 4u])));
  var w = bitcast<Bits>(vec4(f32(b[atB / 4u][atB % 4u])));
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (GRAD_STEP == 1u) { g = vec4<f32>(grad[atGrad / 4u + i]); }
    if (A_STEP == 1u) { v = bitcast<Bits>(Value(a[atA / 4u + i])); }
    if (B_STEP == 1u) { w = bitcast<Bits>(Value(b[atB / 4u + i])); }
    let result = vec4<Stored>(applyPairwiseBackward(g, v, w));
    if (!TAIL || i < params.inner / 4u) {
      out[atOut + i] = result;
    } else {
      for (var j = 0u; j < params.inner % 4u; j++) { out[atOut + i][j] = result[j]; }
    }
  }
}
