// Stable order of indices: order[place] = k, sorted by (indices[k], k). A thread for each index counts those before it, which
// takes count^2 comparisons but neither atomics nor passes.

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> indices: array<i32>;
@group(0) @binding(1) var<storage, read_write> order: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let k = (wid.y * groups.x + wid.x) * 64 + local;
  if (k >= params.count) {
    return;
  }
  let own = indices[k];
  var place = 0u;
  for (var j = 0u; j < k; j++) {
    place += u32(indices[j] <= own);
  }
  for (var j = k + 1; j < params.count; j++) {
    place += u32(indices[j] < own);
  }
  order[place] = k;
}
