// Sums of squares of the gradients of active slots. A thread takes a piece of `chunk` blocks of 64 elements.

struct Params { blocks: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read> blockSlot: array<i32>; // [blocks]
// [slots]: the second number is below 0 where the slot is inactive.
@group(0) @binding(2) var<storage, read> rules: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>; // [ceil(blocks / chunk)]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * 32 + local;
  let first = index * params.chunk;
  if (first >= params.blocks) { return; }
  let end = min(first + params.chunk, params.blocks);
  var total = vec4f();
  // Sums over 16 blocks are added up, so the rounding error hardly grows with the number of blocks.
  for (var block = first; block < end;) {
    let stop = min(block + 16, end);
    var sum = vec4f();
    for (; block < stop; block++) {
      // An inactive slot may hold anything, NaN included.
      if (rules[u32(blockSlot[block])].y >= 0.0) {
        var a = vec4f();
        var b = vec4f();
        for (var at = block * 16; at < block * 16 + 16; at += 2) {
          a += gradients[at] * gradients[at];
          b += gradients[at + 1] * gradients[at + 1];
        }
        sum += a + b;
      }
    }
    total += sum;
  }
  partials[index] = (total.x + total.y) + (total.z + total.w);
}
