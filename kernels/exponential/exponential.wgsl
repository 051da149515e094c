// y = f(x), for exponentials, logarithms and the error function. Workgroups share y as in elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 4u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const EXP2 = 0u; const LOG2 = 1u; const LOG1P = 2u; const EXPM1 = 3u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Stored>>; // [count]
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

// A magnitude with the sign of v, copied as a bit, which keeps that of -0.
fn withSign(size: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(size) | (bitcast<vec4<u32>>(v) & vec4(0x80000000u)));
}

// (log(1 + s) - log(1 - s)) / s for |s| <= 0.25, by a minimax polynomial with a relative error of 2e-10.
fn logSeries(s: vec4<f32>) -> vec4<f32> {
  let z = s * s;
  return 2.0 + z * (0.6666663 + z * (0.4000397 + z * (0.28396231 + z * 0.25331888)));
}

// log(1 + v). Near 0 it is the series of s = v / (2 + v), since 1 + v would round v away.
fn log1pOf(v: vec4<f32>) -> vec4<f32> {
  let s = v / (2.0 + v);
  return select(logOf(1.0 + v), s * logSeries(s), abs(v) < vec4(0.4));
}

// 2^v, as 2^n times 2^f with a whole n and |f| <= 1/2, which keeps powers of whole numbers exact. The factor comes in two, so that
// none overflows before the result does.
fn exp2Of(v: vec4<f32>) -> vec4<f32> {
  let held = select(select(v, vec4(-252.0), v < vec4(-252.0)), vec4(252.0), v > vec4(252.0));
  let n = round(select(held, vec4(0.0), areNaN(v)));
  let f = held - n;
  let p = 1.0 + f * (0.6931472 + f * (0.2402265 + f * (0.0555041 + f * (0.009618038 + f * (0.0013333934
    + f * (0.00015466756 + f * 0.000015196154))))));
  let half = vec4<i32>(n) >> vec4(1u);
  let first = bitcast<vec4<f32>>((half + 127) << vec4(23u));
  let second = bitcast<vec4<f32>>((vec4<i32>(n) - half + 127) << vec4(23u));
  return select(p * first * second, v, areNaN(v));
}

// The logarithm to base 2, near 1 by the series, since drivers lose digits there.
fn log2Of(v: vec4<f32>) -> vec4<f32> {
  let small = v < vec4(1.17549435e-38);
  let finite = log2(select(v, v * 16777216.0, small)) - select(vec4(0.0), vec4(24.0), small);
  let s = (v - 1.0) / (v + 1.0);
  let near = s * logSeries(s) * 1.442695;
  let positive = select(finite, near, abs(v - 1.0) < vec4(0.4));
  return select(select(sqrt(v), -1.0 / abs(v), v == vec4(0.0)), positive, v > vec4(0.0));
}

// e^v - 1, near 0 by a polynomial, which the difference would cancel.
fn expm1Of(v: vec4<f32>) -> vec4<f32> {
  let near = v + v * v * (0.50000006 + v * (0.16666664 + v * (0.04166536 + v * (0.0083335787 + v * (0.0013996178
    + v * 0.00019849808)))));
  return select(expOf(v) - 1.0, near, abs(v) < vec4(0.5));
}

// Q(x) e^(x^2 / 2) for x >= 0, where Q is the upper tail of the normal distribution. It is t P(t) with t = 1 / (1 + 0.33 x / sqrt
// 2), the form of Abramowitz and Stegun 7.1.26, with a minimax P of degree 7 whose relative error is 1e-7, the far tail included.
fn tail(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.23334524 * x);
  return t * (0.093179024 + t * (0.0914762 + t * (0.10062246 + t * (0.023576944 + t * (0.20431123
    + t * (-0.1756399 + t * (0.23015568 + t * -0.06768164)))))));
}

// The error function: an odd polynomial near 0, and beyond it 1 less twice the tail of the normal distribution.
fn erfOf(v: vec4<f32>) -> vec4<f32> {
  let a = abs(v);
  let s = a * a;
  let near = a * (1.1283791 + s * (-0.37612626 + s * (0.11283585 + s * (-0.02685381 + s * (0.0051883277
    + s * (-0.000801019 + s * 0.000078538578))))));
  let far = 1.0 - 2.0 * tail(1.4142135 * a) * exp(-s);
  return select(withSign(select(far, near, a < vec4(1.0)), v), v, areNaN(v));
}

fn applyExponential(v: vec4<f32>) -> vec4<f32> {
  switch OP {
    case EXP2: { return exp2Of(v); }
    case LOG2: { return log2Of(v); }
    case LOG1P: { return log1pOf(v); }
    case EXPM1: { return expm1Of(v); }
    default: { return erfOf(v); }
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
    let v = vec4<Stored>(applyExponential(vec4<f32>(x[own.x + i])));
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][j] = v[j]; }
    }
  }
}
