// One step of SGD with momentum and weight decay (in the form of PyTorch's SGD) over all parameters, with gradient clipping and
// loss scaling. Parameters, gradients and momentum lie in flat buffers of one layout. Each block of 64 elements belongs to one
// slot, whose learning rate and decay come from a table. A thread takes a block, so it needs its slot once.

const MOMENTUM: bool = true;

struct Params { blocks: u32, momentum: f32, nesterov: u32 }

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(2) var<storage, read_write> momentumBuffer: array<vec4f>; // [blocks, 64], or [1] without MOMENTUM
@group(0) @binding(3) var<storage, read> blockSlot: array<i32>; // [blocks]
// [slots]: learning rate, the gradient's part in the momentum, decay, and the factor of the gradient. A factor below 0 leaves the slot
// as it is.
@group(0) @binding(4) var<storage, read> slots: array<vec4f>;
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
    let value = values[at];
    var direction = gradients[at] * slot.w + slot.z * value;
    if (MOMENTUM) {
      let momentum = params.momentum * momentumBuffer[at] + slot.y * direction;
      momentumBuffer[at] = momentum;
      if (params.nesterov == 0) { direction = momentum; } else { direction += params.momentum * momentum; }
    }
    values[at] = value - slot.x * direction;
  }
}
