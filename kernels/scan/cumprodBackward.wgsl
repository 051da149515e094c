// The gradient of running products along the lines of [outer, n, inner], also where elements are 0: dx[i] is the product of the elements before
// i, times S[i] = grad[i] + x[i + 1] S[i + 1], the gradients behind it times the products of what lies between. A thread takes a line: it
// writes the products forwards and multiplies them by S backwards. S is kept in levels of 32, so that rounding hardly grows.

const WORKGROUP: u32 = 64u;

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> grad: array<f32>; // [outer, n, inner]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

// A map of what lies behind to S here: s + p times it.
struct Map { s: f32, p: f32 }

// The map that applies b first and then a.
fn composed(a: Map, b: Map) -> Map {
  return Map(a.s + a.p * b.s, a.p * b.p);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (line >= params.outer * params.inner) { return; }
  var at = line / params.inner * params.n * params.inner + line % params.inner;
  var before = 1.0;
  for (var k = 0u; k < params.n; k++) {
    dx[at] = before;
    before *= x[at];
    at += params.inner;
  }
  var near = Map(0.0, 1.0);
  var far = Map(0.0, 1.0);
  var farther = Map(0.0, 1.0);
  var next = 0.0;
  for (var k = 0u; k < params.n; k++) {
    at -= params.inner;
    near = composed(Map(grad[at], next), near);
    next = x[at];
    dx[at] *= composed(near, composed(far, farther)).s;
    if (k % 32u == 31u) {
      far = composed(near, far);
      near = Map(0.0, 1.0);
    }
    if (k % 1024u == 1023u) {
      farther = composed(far, farther);
      far = Map(0.0, 1.0);
    }
  }
}
