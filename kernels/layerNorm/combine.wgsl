// Adds up the chunks of the weight and bias gradients, always in the same order. A thread takes a column of one of them.

const WORKGROUP: u32 = 64u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  n: u32, chunks: u32, weightOffset: u32,
  toBias: u32, // the distance from weightOffset to the gradient of the bias, modulo 2^32
}

// [2, chunks, n]: the sums of the weight, then of the bias.
@group(0) @binding(0) var<storage, read> sums: array<f32>;
// The gradient of the weight [n] begins at weightOffset, and that of the bias begins toBias elements later.
@group(0) @binding(1) var<storage, read_write> gradients: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let n = params.n;
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (index >= 2u * n) { return; }
  let ofBias = index >= n;
  let column = select(index, index - n, ofBias);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var i = own.x + select(0u, params.chunks * n, ofBias) + column;
  var sum = 0.0;
  // Sums over 16 chunks are added up, so the rounding error hardly grows with the number of chunks.
  for (var chunk = 0u; chunk < params.chunks;) {
    let stop = min(chunk + 16u, params.chunks);
    var block = 0.0;
    for (; chunk < stop; chunk++) {
      block += sums[i];
      i += n;
    }
    sum += block;
  }
  gradients[own.y + params.weightOffset + select(0u, params.toBias, ofBias) + column] = sum;
}
