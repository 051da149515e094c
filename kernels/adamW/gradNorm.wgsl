// Sums of squares of the gradients of active slots: a thread for each piece of `chunk` blocks of 64 elements.

struct Params { blocks: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(1) var<storage, read> blockSlot: array<i32>;
// Weight decay, active (0 or 1).
@group(0) @binding(2) var<storage, read> rules: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;
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
  // Sums of 16 blocks are added up, so that rounding hardly grows with their number.
  for (var block = first; block < end;) {
    let stop = min(block + 16, end);
    var sum = vec4f();
    for (; block < stop; block++) {
      // An inactive slot may hold anything, NaN too.
      if (rules[u32(blockSlot[block])].y != 0.0) {
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
