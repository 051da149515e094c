// y = f(x), for activations of neural networks. Workgroups share y as in elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 1u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const SILU = 0u; const SOFTPLUS = 1u; const LEAKY_RELU = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn areNaN(v: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// The logarithm. Some drivers give log |v| below 0 and a finite number at 0, so NaN and -infinity are made without naming them.
// Some take the exponent of a subnormal for that of the least normal number, hence the factor of 2^24.
fn logOf(v: vec4<f32>) -> vec4<f32> {
  let small = v < vec4(1.17549435e-38);
  let finite = log(select(v, v * 16777216.0, small)) - select(vec4(0.0), vec4(16.635532), small);
  return select(select(sqrt(v), -1.0 / abs(v), v == vec4(0.0)), finite, v > vec4(0.0));
}

// The logistic function, by e^-|x|, which cannot overflow.
fn sigmoidOf(v: vec4<f32>) -> vec4<f32> {
  let t = exp(-abs(v));
  let r = 1.0 / (1.0 + t);
  return select(t * r, r, v >= vec4(0.0));
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

// log(1 + e^v) as max(v, 0) + log(1 + e^-|v|), which cannot overflow.
fn softplusOf(v: vec4<f32>) -> vec4<f32> {
  return select(select(v, vec4(0.0), v < vec4(0.0)) + log1pOf(exp(-abs(v))), v, areNaN(v));
}

// GELU with a tanh for the error function (1606.08415). (1 + tanh(u)) / 2 is the logistic function of 2 u.
fn geluTanhOf(v: vec4<f32>) -> vec4<f32> {
  return v * sigmoidOf(v * (1.5957691 + 0.071354814 * v * v));
}

fn applyActivation(v: vec4<f32>) -> vec4<f32> {
  switch OP {
    case SILU: { return v * sigmoidOf(v); }
    case SOFTPLUS: { return softplusOf(v); }
    case LEAKY_RELU: { return select(v * params.slope, v, v > vec4(0.0)); }
    default: { return geluTanhOf(v); }
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
    let v = vec4<Stored>(applyActivation(vec4<f32>(x[own.x + i])));
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][j] = v[j]; }
    }
  }
}
