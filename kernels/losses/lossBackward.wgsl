// The gradient of losses of two operands of one shape, four neighbours at a time. A workgroup takes an equal share, its threads side by side.
const WORKGROUP: u32 = 64u;
// Whether the count is not a multiple of four, so that the last vec4 is stored in part.
const TAIL: bool = true;
// The elements of `gradient` that one load brings, and their type: four, or one for all terms.
const GRADIENT_VEC: u32 = 4u;
alias Gradient = vec4<f32>;
// Which loss: 0 the squared difference, 1 binary cross-entropy with logits, 2 the divergence of probabilities, 3 of log-probabilities.
const KIND: u32 = 0u;
// Whether the gradient is that of the targets.
const TARGETS: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, scale: f32, gradientStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // [count]
@group(0) @binding(1) var<storage, read> targets: array<vec4<f32>>; // [count]
@group(0) @binding(2) var<storage, read> gradient: array<Gradient>; // [count], or with a stride of 0 [1]
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

fn slope(v: vec4<f32>, goal: vec4<f32>) -> vec4<f32> {
  if (KIND == 0u) { return select(2.0, -2.0, TARGETS) * (v - goal); }
  if (KIND == 1u) {
    if (TARGETS) { return -v; }
    let e = exp(-abs(v));
    return select(e, vec4(1.0), v >= vec4<f32>()) / (1.0 + e) - goal;
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
  let own = wid.z * params.strides[0] / vec4(4u, 4u, GRADIENT_VEC, 4u); // the first elements of this branch's operands
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let v = x[own.x + i];
    let goal = targets[own.y + i];
    let g = vec4<f32>(gradient[own.z + i * params.gradientStride]) * params.scale;
    // NaN may get lost in exp and log on some drivers. These are the operands that the slope depends on.
    var bits = bitcast<vec4<u32>>(goal) & vec4(0x7fffffffu);
    var spoilt = goal;
    if (KIND < 2u || TARGETS) {
      bits = max(bits, bitcast<vec4<u32>>(v) & vec4(0x7fffffffu));
      spoilt += v;
    }
    let value = select(slope(v, goal), spoilt, bits > vec4(0x7f800000u)) * g;
    if (!TAIL || i < params.count / 4u) {
      output[own.w + i] = value;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { output[own.w + i][j] = value[j]; }
    }
  }
}
