// Adds up the chunks of the weight and bias gradients, always in the same order: one thread a column of one of them.

const WORKGROUP: u32 = 64u;

struct Params { n: u32, chunks: u32, weightOffset: u32, biasOffset: u32 }

// [2, chunks, n]: of the weight, then of the bias.
@group(0) @binding(0) var<storage, read> sums: array<f32>;
// [n] at weightOffset and at biasOffset.
@group(0) @binding(1) var<storage, read_write> gradients: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let n = params.n;
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (index >= 2u * n) { return; }
  let ofBias = index >= n;
  let column = select(index, index - n, ofBias);
  var i = select(0u, params.chunks * n, ofBias) + column;
  var sum = 0.0;
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    sum += sums[i];
    i += n;
  }
  gradients[select(params.weightOffset, params.biasOffset, ofBias) + column] = sum;
}
