// y[i] = start + i step. Workgroups share y as in unary.wgsl.
alias Scalar = f32;
// The type that is stored. Whole numbers beyond 2^24 are computed exactly as i32 and rounded once.
alias Value = f32;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params { count: u32, start: Scalar, step: Scalar }

@group(0) @binding(0) var<storage, read_write> y: array<vec4<Value>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let v = vec4<Value>(params.start + params.step * vec4<Scalar>(4u * i + vec4(0u, 1u, 2u, 3u)));
    if (!TAIL || i < params.count / 4u) {
      y[i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[i][j] = v[j]; }
    }
  }
}
