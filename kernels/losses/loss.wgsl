// The terms of losses of two operands of one shape. A thread takes a run of neighbours.
const WORKGROUP: u32 = 64u;
// The elements that a thread takes.
const RUN: u32 = 1u;
// Which loss: 0 the squared difference, 1 binary cross-entropy with logits, 2 the divergence of probabilities, 3 of log-probabilities.
const KIND: u32 = 0u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, scale: f32, gradientStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> targets: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> terms: array<f32>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// log(1 + e) for e in [0, 1], also where 1 + e rounds to 1.
fn logOnePlus(e: f32) -> f32 {
  return select(log(1.0 + e), e * (1.0 - e * (0.5 - e * 0.33333333)), e < 0.01);
}

fn term(v: f32, goal: f32) -> f32 {
  if (KIND == 0u) { return (v - goal) * (v - goal); }
  // As PyTorch writes it, so that infinite logits give what they give there.
  if (KIND == 1u) { return (1.0 - goal) * v + max(-v, 0.0) + logOnePlus(exp(-abs(v))); }
  if (KIND == 2u) { return select(0.0, goal * log(goal), goal != 0.0) - goal * v; }
  return exp(goal) * (goal - v);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let first = ((wid.y * groups.x + wid.x) * WORKGROUP + local) * RUN;
  for (var i = first; i < min(first + RUN, params.count); i++) {
    let v = x[own.x + i];
    let goal = targets[own.y + i];
    let nan = max(bitcast<u32>(v) & 0x7fffffffu, bitcast<u32>(goal) & 0x7fffffffu) > 0x7f800000u;
    // NaN may get lost in max, exp and log on some drivers. The sum of both operands is NaN where one is.
    terms[own.z + i] = select(term(v, goal), v + goal, nan);
  }
}
