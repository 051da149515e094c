// The last part of a step of Muon over all of its weights: weight decay, and the orthogonalized directions times learning rate and
// scale. Each block of 64 elements belongs to one slot, and has its place among the directions. A thread takes a block.

struct Params { blocks: u32 }

@group(0) @binding(0) var<storage, read_write> values: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> directions: array<vec4f>; // [places, 64]
@group(0) @binding(2) var<storage, read> blockSlot: array<i32>; // [blocks]
@group(0) @binding(3) var<storage, read> blockPlace: array<i32>; // [blocks]: the block's place in directions, or -1
// [slots]: learning rate, scale of the direction, learning rate times decay, and the factor of the gradient. A factor below 0 leaves the
// slot as it is.
@group(0) @binding(4) var<storage, read> slots: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let block = (wid.y * groups.x + wid.x) * 64 + local;
  if (block >= params.blocks) { return; }
  let place = blockPlace[block];
  let slot = slots[u32(blockSlot[block])];
  if (place < 0 || slot.w < 0.0) { return; }
  for (var i = 0u; i < 16; i++) {
    let at = block * 16 + i;
    values[at] = values[at] * (1.0 - slot.z) - slot.x * slot.y * directions[u32(place) * 16 + i];
  }
}
