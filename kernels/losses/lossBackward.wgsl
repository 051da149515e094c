// The gradient of losses of two operands of one shape. A thread takes a run of neighbours.
const WORKGROUP: u32 = 64u;
// The elements that a thread takes.
const RUN: u32 = 1u;
// Which loss: 0 the squared difference, 1 binary cross-entropy with logits, 2 the divergence of probabilities, 3 of log-probabilities.
const KIND: u32 = 0u;
// Whether the gradient is that of the targets.
const TARGETS: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, scale: f32, gradientStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> targets: array<f32>; // [count]
@group(0) @binding(2) var<storage, read> gradient: array<f32>; // [count], or with a stride of 0 [1]
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

fn slope(v: f32, goal: f32) -> f32 {
  if (KIND == 0u) { return select(2.0, -2.0, TARGETS) * (v - goal); }
  if (KIND == 1u) {
    if (TARGETS) { return -v; }
    let e = exp(-abs(v));
    return select(e, 1.0, v >= 0.0) / (1.0 + e) - goal;
  }
  if (KIND == 2u) {
    if (TARGETS) { return log(goal) + 1.0 - v; }
    return -goal;
  }
  if (TARGETS) { return exp(goal) * (goal - v + 1.0); }
  return -exp(goal);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let first = ((wid.y * groups.x + wid.x) * WORKGROUP + local) * RUN;
  for (var i = first; i < min(first + RUN, params.count); i++) {
    let v = x[own.x + i];
    let goal = targets[own.y + i];
    let g = gradient[own.z + i * params.gradientStride] * params.scale;
    // NaN may get lost in exp and log on some drivers. These are the operands that the slope depends on.
    var bits = bitcast<u32>(goal) & 0x7fffffffu;
    var spoilt = goal;
    if (KIND < 2u || TARGETS) {
      bits = max(bits, bitcast<u32>(v) & 0x7fffffffu);
      spoilt += v;
    }
    output[own.w + i] = select(slope(v, goal), spoilt, bits > 0x7f800000u) * g;
  }
}
