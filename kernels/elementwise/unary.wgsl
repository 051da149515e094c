// y = f(x). Each workgroup takes an equal share of neighbouring vec4s, its threads side by side. With TAIL the last vec4 of all is
// written element by element, as far as y goes.
alias Stored = f32;
const OP: u32 = 6u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
// The vec4s that a thread loads and stores at a time: two of float16 make 16 bytes.
const PARTS: u32 = 1u;

const NEG = 0u; const EXP = 1u; const LOG = 2u; const SQRT = 3u; const TANH = 4u; const RELU = 5u; const GELU = 6u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<array<vec4<Stored>, PARTS>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<array<vec4<Stored>, PARTS>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn areNaN(v: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// The exponential, which on some drivers is infinity for NaN.
fn expOf(v: vec4<f32>) -> vec4<f32> {
  return select(exp(v), v, areNaN(v));
}

// The logarithm. Some drivers give log |v| below 0 and a finite number at 0, so NaN and -infinity are made without naming them.
// Some take the exponent of a subnormal for that of the least normal number, hence the factor of 2^24.
fn logOf(v: vec4<f32>) -> vec4<f32> {
  let small = v < vec4(1.17549435e-38);
  let finite = log(select(v, v * 16777216.0, small)) - select(vec4(0.0), vec4(16.635532), small);
  return select(select(sqrt(v), -1.0 / abs(v), v == vec4(0.0)), finite, v > vec4(0.0));
}

// The hyperbolic tangent. Drivers lose small results to cancellation and overflow on large operands, hence two ranges: an odd
// polynomial near 0, and (1 - t) / (1 + t) with t = e^-2|x|, which cannot overflow.
fn tanhOf(v: vec4<f32>) -> vec4<f32> {
  let a = abs(v);
  let s = a * a;
  let near = a + a * s * (-0.33333278 + s * (0.13331331 + s * (-0.05373 + s * (0.020606149 + s * -0.0056669398))));
  let t = exp(-2.0 * a);
  let size = select((1.0 - t) / (1.0 + t), near, a < vec4(0.625));
  // The sign is copied as a bit, which keeps that of -0.
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(size) | (bitcast<vec4<u32>>(v) & vec4(0x80000000u)));
}

// The logistic function, by e^-|x|, which cannot overflow.
fn sigmoidOf(v: vec4<f32>) -> vec4<f32> {
  let t = exp(-abs(v));
  let r = 1.0 / (1.0 + t);
  return select(t * r, r, v >= vec4(0.0));
}

// Q(x) e^(x^2 / 2) for x >= 0, where Q is the upper tail of the normal distribution. It is t P(t) with t = 1 / (1 + 0.33 x / sqrt
// 2), the form of Abramowitz and Stegun 7.1.26, with a minimax P of degree 7 whose relative error is 1e-7, the far tail included.
fn tail(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.23334524 * x);
  return t * (0.093179024 + t * (0.0914762 + t * (0.10062246 + t * (0.023576944 + t * (0.20431123
    + t * (-0.1756399 + t * (0.23015568 + t * -0.06768164)))))));
}

// The exact GELU (1606.08415): v Phi(v).
fn gelu(v: vec4<f32>) -> vec4<f32> {
  let x = abs(v);
  let q = tail(x) * exp(-0.5 * x * x);
  return v * select(q, 1.0 - q, v >= vec4(0.0));
}

fn applyUnary(v: vec4<f32>) -> vec4<f32> {
  switch OP {
    case NEG: { return -v; }
    case EXP: { return expOf(v); }
    case LOG: { return logOf(v); }
    case SQRT: { return sqrt(v); }
    case TANH: { return tanhOf(v); }
    // max() may lose NaN, which must stay NaN.
    case RELU: { return select(v, vec4(0.0), v <= vec4(0.0)); }
    case GELU: { return gelu(v); }
    default: { return sigmoidOf(v); }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / (4u * PARTS); // the first elements of this branch's operands
  let total = (params.count + 4u * PARTS - 1u) / (4u * PARTS);
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let loaded = x[own.x + i];
    var v: array<vec4<Stored>, PARTS>;
    v[0] = vec4<Stored>(applyUnary(vec4<f32>(loaded[0])));
    if (PARTS > 1u) { v[PARTS - 1u] = vec4<Stored>(applyUnary(vec4<f32>(loaded[PARTS - 1u]))); }
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][0][j] = v[0][j]; }
    }
  }
}
