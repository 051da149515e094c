// Computes multiply-adds as fast as the device can: each thread runs CHAINS independent chains of vec4s, and the loop reads
// nothing. GPUs want many chains to hide latency; processors have few registers. `rounds` is a multiple of STEPS.

struct Params {
  rounds: u32,
}

/** Whether the built-in `fma` is called, or a product and a sum, which the compiler may join. */
const BUILTIN: bool = true;
/** Chains of a thread: 2, 4 or 8. */
const CHAINS: u32 = 8u;
const THREADS: u32 = 64u;
// Steps of a chain in one turn of the loop.
const STEPS: u32 = 8u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> params: Params;

fn step(value: vec4<f32>, factor: f32, summand: f32) -> vec4<f32> {
  if (BUILTIN) {
    return fma(value, vec4(factor), vec4(summand));
  }
  return value * factor + summand;
}

// STEPS steps of a chain, which are written out so that the loop costs little beside them.
fn steps(value: vec4<f32>, factor: f32, summand: f32) -> vec4<f32> {
  var v = value;
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  v = step(v, factor, summand);
  return step(v, factor, summand);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // Values between 0 and 1 keep drivers from slow paths for infinities and denormals.
  let factor = x[0];
  let summand = x[1];
  let start = vec4(x[2], x[3], x[4], x[5]);
  var v0 = start;
  var v1 = start * 0.9;
  var v2 = start * 0.8;
  var v3 = start * 0.7;
  var v4 = start * 0.6;
  var v5 = start * 0.5;
  var v6 = start * 0.4;
  var v7 = start * 0.3;
  for (var i = 0u; i < params.rounds; i += STEPS) {
    v0 = steps(v0, factor, summand);
    v1 = steps(v1, factor, summand);
    if (CHAINS > 2u) {
      v2 = steps(v2, factor, summand);
      v3 = steps(v3, factor, summand);
    }
    if (CHAINS > 4u) {
      v4 = steps(v4, factor, summand);
      v5 = steps(v5, factor, summand);
      v6 = steps(v6, factor, summand);
      v7 = steps(v7, factor, summand);
    }
  }
  y[id.x] = v0 + v1;
  if (CHAINS > 2u) {
    y[id.x] += v2 + v3;
  }
  if (CHAINS > 4u) {
    y[id.x] += v4 + v5 + v6 + v7;
  }
}
