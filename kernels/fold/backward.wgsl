// The gradient of a reduction along the middle axis of [outer, n, inner] from that of its result. A thread takes one element.

const OP: u32 = 0u;
const NORM: u32 = 0u;
const MOMENTS: u32 = 1u;
const LOG_SUM_EXP: u32 = 2u;
const PRODUCT: u32 = 3u;
const ANY: u32 = 4u;
const ALL: u32 = 5u;

// `root` is 1 where the root of a variance was taken, else 0.
struct Params { outer: u32, n: u32, inner: u32, root: u32, scale: f32 }

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> values: array<f32>; // [outer, inner]: the result
@group(0) @binding(2) var<storage, read> extras: array<f32>; // [outer, inner]: the mean, or the product of all other elements of a zero
@group(0) @binding(3) var<storage, read> grad: array<f32>; // [outer, inner]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

// a / b, and 0 where b is 0.
fn quotient(a: f32, b: f32) -> f32 {
  return select(a / b, 0.0, (bitcast<u32>(b) & 0x7fffffffu) == 0u);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  if (at >= params.outer * params.n * params.inner) { return; }
  let row = at / params.inner;
  let line = row / params.n * params.inner + (at - row * params.inner);
  let value = x[at];
  let g = grad[line];
  var d = 0.0;
  switch (OP) {
    case NORM: { d = value * quotient(g, values[line]); }
    case MOMENTS: {
      let scaled = g * params.scale;
      d = (value - extras[line]) * select(scaled, quotient(scaled, values[line]), params.root == 1u);
    }
    case LOG_SUM_EXP: { d = exp(value - values[line]) * g; }
    default: {
      let zero = (bitcast<u32>(value) & 0x7fffffffu) == 0u;
      d = select(values[line] / value, extras[line], zero) * g;
    }
  }
  dx[at] = d;
}
