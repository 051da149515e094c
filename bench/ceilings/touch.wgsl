// One thread adds one: a dispatch that costs nothing but being dispatched. Each waits for the one before.

struct Params {
  step: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  y[0] += params.step;
}
