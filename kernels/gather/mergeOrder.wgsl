// Merges neighbouring runs of an order: two runs of `run` places, each sorted by (indices[k], k), become one sorted run. The thread
// of a place finds by bisection how many elements of the sibling run come before its own.

struct Params { count: u32, run: u32 }

@group(0) @binding(0) var<storage, read> indices: array<i32>; // [count]
@group(0) @binding(1) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(2) var<storage, read_write> merged: array<u32>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let place = (wid.y * groups.x + wid.x) * 64 + local;
  if (place >= params.count) { return; }
  let k = order[place];
  let own = indices[k];
  let run = place / params.run;
  let isLater = run % 2 == 1;
  let sibling = min(select(run + 1, run - 1, isLater) * params.run, params.count);
  var first = sibling;
  var end = min(sibling + params.run, params.count);
  // Of equal indices those of the earlier run come first.
  while (first < end) {
    let middle = (first + end) / 2;
    let other = indices[order[middle]];
    if (other < own || (isLater && other == own)) {
      first = middle + 1;
    } else {
      end = middle;
    }
  }
  let before = place % params.run + first - sibling;
  merged[run / 2 * 2 * params.run + before] = k;
}
