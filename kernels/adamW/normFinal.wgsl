// The norm from the sums of squares of pieces, by one thread.

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> norm: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  var total = vec4f();
  var at = 0u;
  for (; at + 4 <= params.count; at += 4) {
    total += vec4f(partials[at], partials[at + 1], partials[at + 2], partials[at + 3]);
  }
  for (; at < params.count; at++) {
    total.x += partials[at];
  }
  norm[0] = sqrt((total.x + total.y) + (total.z + total.w));
}
