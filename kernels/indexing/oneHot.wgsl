// output[k, c] = 1 where labels[k] is c, else 0. A label outside gives a row of zeros.

alias Element = i32;

struct Params { count: u32, classes: u32 }

@group(0) @binding(0) var<storage, read> labels: array<i32>; // [count]
@group(0) @binding(1) var<storage, read_write> output: array<Element>; // [count, classes]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  if (at >= params.count * params.classes) { return; }
  let row = at / params.classes;
  output[at] = select(Element(), Element(1), labels[row] == i32(at - row * params.classes));
}
