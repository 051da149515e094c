// Whether rows count in a mean loss: 1 where the label is not the one of rows without loss.
const WORKGROUP: u32 = 64u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  rows: u32, ignored: i32,
}

@group(0) @binding(0) var<storage, read> labels: array<i32>; // [rows]
@group(0) @binding(1) var<storage, read_write> counted: array<f32>; // [rows]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  counted[own.y + row] = select(1.0, 0.0, labels[own.x + row] == params.ignored);
}
