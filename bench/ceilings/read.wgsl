// Reads vec4s as fast as the device can. Every thread adds up PER_THREAD vec4s and writes one; neighbouring threads read
// neighbouring ones.

struct Params {
  count: u32,
}

const PER_THREAD: u32 = 16u;
const THREADS: u32 = 256u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let start = group * THREADS * PER_THREAD + lane;
  var sum = vec4(0.0);
  for (var i = 0u; i < PER_THREAD; i++) {
    let at = start + i * THREADS;
    if (at < params.count) {
      sum += x[at];
    }
  }
  if (start < params.count) {
    y[group * THREADS + lane] = sum;
  }
}
