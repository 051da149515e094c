// One AdamW step over all parameters (Loshchilov and Hutter 2019, in the form of PyTorch's AdamW), gradient clipping included.
// Parameters, gradients and moments lie in flat buffers of one layout; each block of 64 elements belongs to one slot, whose
// step size, bias correction and decay come from a table. Neighbouring threads take neighbouring vec4s.

const VEC4S_PER_THREAD: u32 = 4;

struct Params {
  blocks: u32,
  beta1: f32,
  beta2: f32,
  // 1 - beta1 and 1 - beta2, which float32 cannot subtract well.
  complement1: f32,
  complement2: f32,
  eps: f32,
  maxNorm: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> firstMoments: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> secondMoments: array<vec4f>;
@group(0) @binding(4) var<storage, read> blockSlot: array<i32>;
// stepSize, 1 / sqrt(1 - beta2^t), decay, active (0 or 1).
@group(0) @binding(5) var<storage, read> slots: array<vec4f>;
// The bits of the gradient norm: compilers may assume that a float is finite.
@group(0) @binding(6) var<storage, read> norm: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let normBits = norm[0];
  if ((normBits & 0x7f800000u) == 0x7f800000u) {
    return;
  }
  var scale = 1.0;
  if (params.maxNorm > 0.0) {
    scale = min(1.0, params.maxNorm / (bitcast<f32>(normBits) + 1e-6));
  }
  let first = (wid.y * groups.x + wid.x) * 64 * VEC4S_PER_THREAD + local;
  for (var i = 0u; i < VEC4S_PER_THREAD; i++) {
    let at = first + i * 64;
    if (at >= params.blocks * 16) {
      return;
    }
    let slot = slots[u32(blockSlot[at / 16])];
    if (slot.w != 0.0) {
      let gradient = gradients[at] * scale;
      let m = params.beta1 * firstMoments[at] + params.complement1 * gradient;
      let v = params.beta2 * secondMoments[at] + params.complement2 * gradient * gradient;
      firstMoments[at] = m;
      secondMoments[at] = v;
      values[at] = values[at] * (1.0 - slot.z) - slot.x * m / (sqrt(v) * slot.y + params.eps);
    }
  }
}
