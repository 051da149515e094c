// The result of a scatter: the source element that a target gets, else the element of x. Elements are moved as words.

struct Params { outer: u32, n: u32, m: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> src: array<u32>; // [outer, m, inner]
@group(0) @binding(2) var<storage, read> winners: array<u32>; // [outer, n, inner]
@group(0) @binding(3) var<storage, read_write> output: array<u32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  if (at >= params.outer * params.n * params.inner) { return; }
  let row = at / params.inner;
  let o = row / params.n;
  let winner = winners[at];
  var value = x[at];
  if (winner > 0u) { value = src[(o * params.m + winner - 1u) * params.inner + (at - row * params.inner)]; }
  output[at] = value;
}
