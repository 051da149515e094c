// out = grad * f'(x), where `saved` is x for log and gelu, and y = f(x) for the others, whose derivative follows from y. Workgroups
// share out as in unary.wgsl.
alias Stored = f32;
const OP: u32 = 6u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
// The vec4s that a thread loads and stores at a time: two of float16 make 16 bytes.
const PARTS: u32 = 1u;

const EXP = 1u; const LOG = 2u; const SQRT = 3u; const TANH = 4u; const RELU = 5u; const GELU = 6u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<array<vec4<Stored>, PARTS>>; // [count]
@group(0) @binding(1) var<storage, read> saved: array<array<vec4<Stored>, PARTS>>; // [count]
@group(0) @binding(2) var<storage, read_write> out: array<array<vec4<Stored>, PARTS>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// Q(x) e^(x^2 / 2) for x >= 0, where Q is the upper tail of the normal distribution. It is t P(t) with t = 1 / (1 + 0.33 x / sqrt
// 2), the form of Abramowitz and Stegun 7.1.26, with a minimax P of degree 7 whose relative error is 1e-7, the far tail included.
fn tail(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.23334524 * x);
  return t * (0.093179024 + t * (0.0914762 + t * (0.10062246 + t * (0.023576944 + t * (0.20431123
    + t * (-0.1756399 + t * (0.23015568 + t * -0.06768164)))))));
}

// The derivative of GELU: Phi(v) + v phi(v).
fn geluGrad(v: vec4<f32>) -> vec4<f32> {
  let x = abs(v);
  let e = exp(-0.5 * x * x);
  let q = tail(x) * e;
  return select(q, 1.0 - q, v >= vec4(0.0)) + 0.39894228 * v * e;
}

fn applyBackward(g: vec4<f32>, s: vec4<f32>) -> vec4<f32> {
  switch OP {
    case EXP: { return g * s; }
    case LOG: { return g / s; }
    case SQRT: { return 0.5 * g / s; }
    case TANH: { return g * (1.0 - s * s); }
    // At NaN the gradient is passed on, as in PyTorch.
    case RELU: { return select(g, vec4(0.0), s <= vec4(0.0)); }
    case GELU: { return g * geluGrad(s); }
    default: { return g * s * (1.0 - s); }
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
    let g = grad[own.x + i];
    let s = saved[own.y + i];
    var v: array<vec4<Stored>, PARTS>;
    v[0] = vec4<Stored>(applyBackward(vec4<f32>(g[0]), vec4<f32>(s[0])));
    if (PARTS > 1u) { v[PARTS - 1u] = vec4<Stored>(applyBackward(vec4<f32>(g[PARTS - 1u]), vec4<f32>(s[PARTS - 1u]))); }
    if (!TAIL || i < params.count / 4u) {
      out[own.z + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.z + i][0][j] = v[0][j]; }
    }
  }
}
