// One AdamW step (1711.05101, in the form of PyTorch's AdamW) over all parameters, with gradient clipping and loss scaling. Parameters,
// gradients and moments lie in flat buffers of one layout. Each block of 64 elements belongs to one slot, whose step size, bias
// correction and decay come from a table. A thread takes a block, so it needs its slot once.

struct Params {
  blocks: u32, beta1: f32, beta2: f32,
  // 1 - beta1 and 1 - beta2, which lose digits when float32 subtracts them.
  complement1: f32, complement2: f32, eps: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(2) var<storage, read_write> firstMoments: array<vec4f>; // [blocks, 64]
@group(0) @binding(3) var<storage, read_write> secondMoments: array<vec4f>; // [blocks, 64]
@group(0) @binding(4) var<storage, read> blockSlot: array<i32>; // [blocks]
// [slots]: step size, 1 / sqrt(1 - beta2^t), decay, and the factor of the gradient. A factor below 0 leaves the slot as it is.
@group(0) @binding(5) var<storage, read> slots: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let block = (wid.y * groups.x + wid.x) * 64 + local;
  if (block >= params.blocks) { return; }
  let slot = slots[u32(blockSlot[block])];
  if (slot.w < 0.0) { return; }
  for (var at = block * 16; at < block * 16 + 16; at++) {
    let gradient = gradients[at] * slot.w;
    let m = params.beta1 * firstMoments[at] + params.complement1 * gradient;
    let v = params.beta2 * secondMoments[at] + params.complement2 * gradient * gradient;
    firstMoments[at] = m;
    secondMoments[at] = v;
    values[at] = values[at] * (1.0 - slot.z) - slot.x * m / (sqrt(v) * slot.y + params.eps);
  }
}
