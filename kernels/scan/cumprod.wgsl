// Running products along the lines of [outer, n, inner], in order. A thread takes a line.

alias Element = f32;
const WORKGROUP: u32 = 64u;

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<Element>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read_write> y: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (line >= params.outer * params.inner) { return; }
  var at = line / params.inner * params.n * params.inner + line % params.inner;
  var product = Element(1);
  for (var k = 0u; k < params.n; k++) {
    product *= x[at];
    y[at] = product;
    at += params.inner;
  }
}
