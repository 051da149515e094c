// The gradient of a maximum along the middle axis of [outer, n, inner]: the gradient of the output goes to the element at its
// index, zero to the others. A thread writes four neighbours of the gradient of the input.

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> indices: array<i32>; // [outer, inner]
@group(0) @binding(1) var<storage, read> gradOutput: array<f32>; // [outer, inner]
@group(0) @binding(2) var<storage, read_write> gradInput: array<f32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let start = ((wid.y * groups.x + wid.x) * 64 + local) * 4;
  let size = params.outer * params.n * params.inner;
  if (start >= size) { return; }
  var i = start % params.inner;
  var k = (start / params.inner) % params.n;
  var at = start / params.inner / params.n * params.inner;
  let end = min(start + 4, size);
  for (var element = start; element < end; element++) {
    gradInput[element] = select(0.0, gradOutput[at + i], indices[at + i] == i32(k));
    i++;
    if (i == params.inner) {
      i = 0;
      k++;
      if (k == params.n) {
        k = 0;
        at += params.inner;
      }
    }
  }
}
