// y = x held between two limits. Workgroups share y as in elementwise/unary.wgsl.
alias Stored = f32;
alias Scalar = f32;
const FLOAT: bool = true;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, low: u32, high: u32, // the bits of the limits
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The limit where it is reached or NaN. NaN in v stays. Where the lower limit is above the upper one, the upper one counts.
fn clampTo(v: vec4<Scalar>) -> vec4<Scalar> {
  let low = vec4(bitcast<Scalar>(params.low));
  let high = vec4(bitcast<Scalar>(params.high));
  let isNaN = vec2(FLOAT) & ((vec2(params.low, params.high) & vec2(0x7fffffffu)) > vec2(0x7f800000u));
  let raised = select(v, low, (v < low) | vec4(isNaN.x));
  return select(raised, high, (raised > high) | vec4(isNaN.y));
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
    let v = vec4<Stored>(clampTo(vec4<Scalar>(x[own.x + i])));
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][j] = v[j]; }
    }
  }
}
