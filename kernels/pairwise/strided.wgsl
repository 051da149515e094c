// out = f(a, b), for operands with any strides. A thread takes RUN neighbouring elements of one row.
alias Stored = f32;
alias Scalar = f32;
alias Wide = Scalar;
alias Value = f32;
alias Bits = u32;
alias Ints = i32;
alias Truth = bool;
const FLOAT: bool = true;
const OP: u32 = 0u;
const RUN: u32 = 32u;

const MINIMUM = 0u; const MAXIMUM = 1u; const ATAN2 = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Stored>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> b: array<Stored>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read_write> out: array<Stored>; // [dims, inner], row-major
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

// The angle of the point (x, y): the arctangent of the smaller coordinate over the larger one, by a minimax polynomial, in its octant.
// Signs are those of the bits, so that -0 counts as negative.
fn atan2Of(y: Bits, x: Bits) -> Bits {
  let tall = bitcast<Value>(y & Bits(0x7fffffffu));
  let wide = bitcast<Value>(x & Bits(0x7fffffffu));
  let larger = select(wide, tall, tall > wide);
  let smaller = select(tall, wide, tall > wide);
  let ratio = select(smaller / larger, Value(0.0), larger == Value(0.0));
  let endless = (y & x & Bits(0x7fffffffu)) == Bits(0x7f800000u);
  let a = select(ratio, Value(1.0), endless);
  let s = a * a;
  var angle = a + a * s * (-0.33333072 + s * (0.1999262 + s * (-0.14203642 + s * (0.10640924 + s * (-0.07504274
    + s * (0.042691275 + s * (-0.016068479 + s * 0.00284985197)))))));
  angle = select(angle, 1.5707963 - angle, tall > wide);
  angle = select(angle, 3.1415927 - angle, (x & Bits(0x80000000u)) != Bits(0u));
  let result = bitcast<Bits>(angle) | (y & Bits(0x80000000u));
  return select(result, Bits(0x7fc00000u), isNaNWord(y) | isNaNWord(x));
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

fn applyPairwise(v: Bits, w: Bits) -> Bits {
  switch OP {
    case MINIMUM: { return select(select(v, w, (keyOf(w) < keyOf(v)) | isNaNWord(w)), v, isNaNWord(v)); }
    case MAXIMUM: { return select(select(v, w, (keyOf(w) > keyOf(v)) | isNaNWord(w)), v, isNaNWord(v)); }
    case ATAN2: { return atan2Of(v, w); }
    default: { return remainderOf(v, w); }
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
    out[outRow + i] = Stored(bitcast<Wide>(applyPairwise(v, w)));
  }
}
