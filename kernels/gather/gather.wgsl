// output[k] = weight[indices[k]], NaN where the index lies outside. Elements are moved as bits. A thread takes one element, or four
// neighbours (Value = vec4).

alias Value = u32;
const WIDTH: u32 = 1;
const NAN: u32 = 0x7fc00000u;

struct Params { count: u32, rows: u32, width: u32 }

@group(0) @binding(0) var<storage, read> weight: array<Value>; // [rows, width]
@group(0) @binding(1) var<storage, read> indices: array<i32>; // [count]
@group(0) @binding(2) var<storage, read_write> output: array<Value>; // [count, width]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64 + local;
  let columns = params.width / WIDTH;
  if (at >= params.count * columns) { return; }
  let row = indices[at / columns];
  if (row >= 0 && row < i32(params.rows)) {
    output[at] = weight[u32(row) * columns + at % columns];
  } else {
    output[at] = Value(NAN);
  }
}
