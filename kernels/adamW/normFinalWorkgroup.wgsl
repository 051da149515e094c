// The norm from the sums of squares of pieces, by one workgroup with a tree in workgroup memory.

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> norm: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
  var total = 0.0;
  for (var at = local; at < params.count; at += 256) {
    total += partials[at];
  }
  sums[local] = total;
  for (var half = 128u; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) {
      sums[local] += sums[local + half];
    }
  }
  if (local == 0) {
    norm[0] = sqrt(sums[0]);
  }
}
