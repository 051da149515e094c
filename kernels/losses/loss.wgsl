// The terms of losses of two operands of one shape, four neighbours at a time. A workgroup takes an equal share, its threads side by side.
const WORKGROUP: u32 = 64u;
// Whether the count is not a multiple of four, so that the last vec4 is stored in part.
const TAIL: bool = true;
// Which loss: 0 the squared difference, 1 binary cross-entropy with logits, 2 the divergence of probabilities, 3 of log-probabilities.
const KIND: u32 = 0u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, scale: f32, gradientStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // [count]
@group(0) @binding(1) var<storage, read> targets: array<vec4<f32>>; // [count]
@group(0) @binding(2) var<storage, read_write> terms: array<vec4<f32>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// log(1 + e) for e in [0, 1], also where 1 + e rounds to 1.
fn logOnePlus(e: vec4<f32>) -> vec4<f32> {
  return select(log(1.0 + e), e * (1.0 - e * (0.5 - e * 0.33333333)), e < vec4(0.01));
}

fn term(v: vec4<f32>, goal: vec4<f32>) -> vec4<f32> {
  if (KIND == 0u) { return (v - goal) * (v - goal); }
  // As PyTorch writes it, so that infinite logits give what they give there.
  if (KIND == 1u) { return (1.0 - goal) * v + max(-v, vec4<f32>()) + logOnePlus(exp(-abs(v))); }
  if (KIND == 2u) { return select(vec4<f32>(), goal * log(goal), goal != vec4<f32>()) - goal * v; }
  return exp(goal) * (goal - v);
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
    let v = x[own.x + i];
    let goal = targets[own.y + i];
    let size = vec4(0x7fffffffu);
    let nan = max(bitcast<vec4<u32>>(v) & size, bitcast<vec4<u32>>(goal) & size) > vec4(0x7f800000u);
    // NaN may get lost in max, exp and log on some drivers. The sum of both operands is NaN where one is.
    let value = select(term(v, goal), v + goal, nan);
    if (!TAIL || i < params.count / 4u) {
      terms[own.z + i] = value;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { terms[own.z + i][j] = value[j]; }
    }
  }
}
