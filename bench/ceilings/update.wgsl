// Updates vec4s in place as fast as the device reads and writes: numbers below `value` are raised to it. A processor reads a line
// of memory before it writes to it, so an update moves less than a copy of as many bytes. Every thread updates PER_THREAD vec4s,
// and neighbouring threads update neighbouring ones.

struct Params {
  count: u32,
  value: f32,
}

const PER_THREAD: u32 = 4u;
const THREADS: u32 = 256u;

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let start = group * THREADS * PER_THREAD + lane;
  for (var i = 0u; i < PER_THREAD; i++) {
    let at = start + i * THREADS;
    if (at < params.count) {
      y[at] = max(y[at], vec4(params.value));
    }
  }
}
