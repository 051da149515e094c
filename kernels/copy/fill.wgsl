// Sets every word of y to one value. Workgroups share y as in unary.wgsl.
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params { count: u32, word: u32 }

@group(0) @binding(0) var<storage, read_write> y: array<vec4<u32>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    if (!TAIL || i < params.count / 4u) {
      y[i] = vec4(params.word);
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[i][j] = params.word; }
    }
  }
}
