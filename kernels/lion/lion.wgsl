// One step of Lion (2302.06675, algorithm 2) over all parameters, with gradient clipping and loss scaling. Parameters, gradients
// and momentum lie in flat buffers of one layout. Each block of 64 elements belongs to one slot, whose learning rate and decay come
// from a table. A thread takes a block, so it needs its slot once.

struct Params {
  blocks: u32, beta1: f32, beta2: f32,
  // 1 - beta1 and 1 - beta2, which lose digits when float32 subtracts them.
  complement1: f32, complement2: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(2) var<storage, read_write> momentumBuffer: array<vec4f>; // [blocks, 64]
@group(0) @binding(3) var<storage, read> blockSlot: array<i32>; // [blocks]
// [slots]: learning rate, nothing, learning rate times decay, and the factor of the gradient. A factor below 0 leaves the slot as it is.
@group(0) @binding(4) var<storage, read> slots: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;


// The sign of every number; NaN stays NaN, which is told by its bits because compilers may assume that there is none.
fn signs(x: vec4f) -> vec4f {
  return select(sign(x), x, (bitcast<vec4u>(x) & vec4u(0x7fffffff)) > vec4u(0x7f800000));
}

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
    let momentum = momentumBuffer[at];
    let direction = signs(params.beta1 * momentum + params.complement1 * gradient);
    momentumBuffer[at] = params.beta2 * momentum + params.complement2 * gradient;
    values[at] = values[at] * (1.0 - slot.z) - slot.x * direction;
  }
}
