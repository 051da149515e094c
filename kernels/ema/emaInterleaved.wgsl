// Moves averages towards values: average += part * (value - average). Neighbouring threads take neighbouring vec4s.

const VEC4S_PER_THREAD: u32 = 4;

struct Params { blocks: u32, part: f32 }

@group(0) @binding(0) var<storage, read_write> averages: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> values: array<vec4f>; // [blocks, 64]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let first = (wid.y * groups.x + wid.x) * 64 * VEC4S_PER_THREAD + local;
  for (var i = 0u; i < VEC4S_PER_THREAD; i++) {
    let at = first + i * 64;
    if (at >= params.blocks * 16) { return; }
    let average = averages[at];
    averages[at] = average + params.part * (values[at] - average);
  }
}
