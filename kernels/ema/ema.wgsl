// Moves averages towards values: average += part * (value - average). A thread takes 16 vec4s in a row.

struct Params { blocks: u32, part: f32 }

@group(0) @binding(0) var<storage, read_write> averages: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> values: array<vec4f>; // [blocks, 64]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let block = (wid.y * groups.x + wid.x) * 64 + local;
  if (block >= params.blocks) { return; }
  for (var at = block * 16; at < block * 16 + 16; at++) {
    let average = averages[at];
    averages[at] = average + params.part * (values[at] - average);
  }
}
