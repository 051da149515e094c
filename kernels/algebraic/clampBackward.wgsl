// out = grad where x lies between two limits, which count as inside, else 0. Workgroups share out as in elementwise/unary.wgsl.
alias Stored = f32;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, low: u32, high: u32, // the bits of the limits
}

@group(0) @binding(0) var<storage, read> grad: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

fn passClamped(g: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
  let low = vec4(bitcast<f32>(params.low));
  let high = vec4(bitcast<f32>(params.high));
  return select(vec4(0.0), g, (v >= low) & (v <= high));
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
    let v = vec4<Stored>(passClamped(vec4<f32>(grad[own.x + i]), vec4<f32>(x[own.y + i])));
    if (!TAIL || i < params.count / 4u) {
      out[own.z + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.z + i][j] = v[j]; }
    }
  }
}
