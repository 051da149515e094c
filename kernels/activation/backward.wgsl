// out = grad * f'(x), where `saved` is x. Workgroups share out as in elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 1u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const SILU = 0u; const SOFTPLUS = 1u; const LEAKY_RELU = 2u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, slope: f32,
}

@group(0) @binding(0) var<storage, read> grad: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read> saved: array<vec4<Stored>>; // [count]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The logistic function, by e^-|x|, which cannot overflow.
fn sigmoidOf(v: vec4<f32>) -> vec4<f32> {
  let t = exp(-abs(v));
  let r = 1.0 / (1.0 + t);
  return select(t * r, r, v >= vec4(0.0));
}

// The derivative of GELU with tanh. From 10 on its inner part is 0 in float32, where its factors would give infinity times 0.
fn geluTanhGrad(v: vec4<f32>) -> vec4<f32> {
  let s = sigmoidOf(v * (1.5957691 + 0.071354814 * v * v));
  let inner = s * (1.0 - s) * (1.5957691 + 0.21406444 * v * v);
  return s + v * select(inner, vec4(0.0), abs(v) > vec4(10.0));
}

fn applyActivationBackward(g: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
  let s = sigmoidOf(v);
  switch OP {
    case SILU: { return g * (s * (1.0 + v * (1.0 - s))); }
    case SOFTPLUS: { return g * s; }
    case LEAKY_RELU: { return select(g * params.slope, g, v > vec4(0.0)); }
    default: { return g * geluTanhGrad(v); }
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
    let v = vec4<Stored>(applyActivationBackward(vec4<f32>(grad[own.x + i]), vec4<f32>(saved[own.y + i])));
    if (!TAIL || i < params.count / 4u) {
      out[own.z + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.z + i][j] = v[j]; }
    }
  }
}
