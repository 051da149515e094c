// One thread adds `step` to one number, so that the time is the cost of a dispatch. Each dispatch waits for the one before it.

struct Params {
  step: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  y[0] += params.step;
}
