// Sums of squares of the gradients of active slots. A workgroup takes a piece of `chunk` blocks of 64 elements and adds up by a tree
// reduction in workgroup memory.

struct Params { blocks: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> blockSlot: array<i32>; // [blocks]
// [slots]: the second number is below 0 where the slot is inactive.
@group(0) @binding(2) var<storage, read> rules: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>; // [ceil(blocks / chunk)]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = wid.y * groups.x + wid.x;
  let first = index * params.chunk;
  if (first >= params.blocks) { return; }
  let end = min(first + params.chunk, params.blocks) * 16;
  var total = vec4f();
  for (var at = first * 16 + local; at < end; at += 256) {
    // An inactive slot may hold anything, NaN included.
    if (rules[u32(blockSlot[at / 16])].y >= 0.0) { total += gradients[at] * gradients[at]; }
  }
  sums[local] = (total.x + total.y) + (total.z + total.w);
  for (var half = 128u; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) { sums[local] += sums[local + half]; }
  }
  if (local == 0) { partials[index] = sums[0]; }
}
