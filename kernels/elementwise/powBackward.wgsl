// out = grad * d(a ^ b)/da, or with EXPONENT grad * d(a ^ b)/db, where d(a ^ b)/db = a ^ b ln a, taken as 0 where a <= 0. Operands
// have any strides. A thread takes RUN neighbouring elements of one row.
const EXPONENT: bool = false;
const RUN: u32 = 32u;
alias Stored = f32;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, gradStrides: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>,
  bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, gradStep: u32, gradOffset: u32, aStep: u32, aOffset: u32,
  bStep: u32, bOffset: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<Stored>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> a: array<Stored>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read> b: array<Stored>; // [dims, inner] by strides
@group(0) @binding(3) var<storage, read_write> out: array<Stored>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn isNaN(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// size ^ e for a positive size and a nonzero e. WGSL's pow() knows no infinity, and some drivers have no logarithm of subnormals.
fn positivePower(size: f32, e: f32) -> f32 {
  var infinity = 0x7f800000u; // A variable, because a constant expression may not be infinite.
  let far = select(0.0, bitcast<f32>(infinity), (size > 1.0) == (e > 0.0));
  if (size == 1.0) { return 1.0; }
  if (max(bitcast<u32>(size), bitcast<u32>(abs(e))) == 0x7f800000u) { return far; }
  if (size < 1.17549435e-38) { return pow(size * 16777216.0, e) * exp2(-24.0 * e); }
  return pow(size, e);
}

// v ^ e as in NumPy: 1 where e is 0 or v is 1, even if the other is NaN, and NaN for a negative base unless e is a whole number. Small
// whole exponents are multiplied out, because pow() loses digits on large bases.
fn power(v: f32, e: f32) -> f32 {
  if (e == 0.0 || v == 1.0) { return 1.0; }
  if (isNaN(v) || isNaN(e)) { return v + e; }
  let whole = trunc(e) == e;
  if (whole && abs(e) <= 64.0) {
    var result = 1.0;
    var factor = v;
    for (var n = u32(abs(e)); n > 0u; n >>= 1u) {
      if ((n & 1u) == 1u) { result *= factor; }
      factor *= factor;
    }
    return select(result, 1.0 / result, e < 0.0);
  }
  let odd = whole && abs(e) < 16777216.0 && (u32(abs(e)) & 1u) == 1u;
  if (v == 0.0) {
    let zero = select(abs(v), v, odd);
    return select(zero, 1.0 / zero, e < 0.0);
  }
  if (v > 0.0) { return positivePower(v, e); }
  if (!whole && bitcast<u32>(v) != 0xff800000u) { return sqrt(v); } // NaN without naming it
  return select(1.0, -1.0, odd) * positivePower(-v, e);
}

fn derivative(v: f32, e: f32) -> f32 {
  if (EXPONENT) {
    if (v <= 0.0) { return 0.0; }
    // Some drivers have no logarithms of NaN and of subnormals.
    if (isNaN(v)) { return v; }
    let small = v < 1.17549435e-38;
    return power(v, e) * (log(select(v, v * 16777216.0, small)) - select(0.0, 16.635532, small));
  }
  // v ^ 0 is constant, but e v ^ (e - 1) is 0 * infinity at v = 0.
  if (e == 0.0) { return 0.0; }
  return e * power(v, e - 1.0);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atGrad = own.x + params.gradOffset;
  var atA = own.y + params.aOffset;
  var atB = own.z + params.bOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atGrad += at * params.gradStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  for (var i = start; i < end; i++) {
    let factor = derivative(f32(a[atA + i * params.aStep]), f32(b[atB + i * params.bStep]));
    out[own.w + row * params.inner + i] = Stored(f32(grad[atGrad + i * params.gradStep]) * factor);
  }
}
