// The stable order of indices within blocks of neighbours: order[place] = k, sorted by (indices[k], k) in each block. The thread of an
// index counts those of its block that come before it.

const BLOCK: u32 = 64;

struct Params { count: u32 }

@group(0) @binding(0) var<storage, read> indices: array<i32>; // [count]
@group(0) @binding(1) var<storage, read_write> order: array<u32>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let k = (wid.y * groups.x + wid.x) * 64 + local;
  if (k >= params.count) { return; }
  let own = indices[k];
  let start = k / BLOCK * BLOCK;
  let end = min(start + BLOCK, params.count);
  var place = start;
  for (var j = start; j < end; j++) {
    let other = indices[j];
    place += u32(other < own || (other == own && j < k));
  }
  order[place] = k;
}
