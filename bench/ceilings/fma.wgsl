// Multiply-adds as fast as the device makes them: eight independent chains of vec4 a thread, nothing read in the loop.

struct Params {
  rounds: u32,
}

/** Whether the built-in is called, or a product and a sum are left to the compiler. */
const BUILTIN: bool = true;
const THREADS: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> params: Params;

fn step(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
  if (BUILTIN) {
    return fma(a, b, c);
  }
  return a * b + c;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // Values stay between 0 and 1, so that no driver takes a slow path for infinities or denormals.
  let factor = x[0];
  let summand = x[1];
  var v0 = x[2];
  var v1 = v0 + x[3];
  var v2 = v1 + x[3];
  var v3 = v2 + x[3];
  var v4 = v3 + x[3];
  var v5 = v4 + x[3];
  var v6 = v5 + x[3];
  var v7 = v6 + x[3];
  for (var i = 0u; i < params.rounds; i++) {
    v0 = step(v0, factor, summand);
    v1 = step(v1, factor, summand);
    v2 = step(v2, factor, summand);
    v3 = step(v3, factor, summand);
    v4 = step(v4, factor, summand);
    v5 = step(v5, factor, summand);
    v6 = step(v6, factor, summand);
    v7 = step(v7, factor, summand);
  }
  y[id.x] = v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7;
}
