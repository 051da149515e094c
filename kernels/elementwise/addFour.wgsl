// out = (a + b) + (c + d), or (a + b) + c: two levels of a tree of sums. Workgroups share out as in unary.wgsl.
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
// Whether there is a fourth term.
const FOUR: bool = true;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [count], as all of them
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> d: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / 4u; // the first elements of this branch's operands
  let result = wid.z * params.strides[1].x / 4u;
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    var rest = c[own.z + i];
    if (FOUR) { rest += d[own.w + i]; }
    let v = (a[own.x + i] + b[own.y + i]) + rest;
    if (!TAIL || i < params.count / 4u) {
      out[result + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[result + i][j] = v[j]; }
    }
  }
}
