// Where each row begins in the sorted order of indices: starts[r] is the first place whose index is at least r, so starts[rows] is the
// exclusive end of all rows. The thread of a row finds it by bisection.

struct Params { count: u32, rows: u32 }

@group(0) @binding(0) var<storage, read> indices: array<i32>; // [count]
@group(0) @binding(1) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(2) var<storage, read_write> starts: array<u32>; // [rows + 1]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let row = (wid.y * groups.x + wid.x) * 64 + local;
  if (row > params.rows) { return; }
  var first = 0u;
  var end = params.count;
  while (first < end) {
    let middle = (first + end) / 2;
    if (indices[order[middle]] < i32(row)) {
      first = middle + 1;
    } else {
      end = middle;
    }
  }
  starts[row] = first;
}
