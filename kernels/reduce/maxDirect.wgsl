// Maximum along the middle axis of [outer, n, inner] and the index of its first occurrence: a thread for each output, or for
// four that are neighbours in memory (Value = vec4).

alias Value = f32;
alias Index = i32;
const WIDTH: u32 = 1;

struct Params {
  outer: u32,
  n: u32,
  inner: u32,
  chunk: u32,
  chunks: u32,
  offset: u32,
  outerStride: u32,
  nStride: u32,
  innerStride: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>;
@group(0) @binding(1) var<storage, read_write> values: array<Value>;
@group(0) @binding(2) var<storage, read_write> indices: array<Index>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * 64 + local;
  let columns = params.inner / WIDTH;
  if (index >= params.outer * params.chunks * columns) {
    return;
  }
  let piece = index / columns;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let step = params.nStride / WIDTH;
  var at = (params.offset + row * params.outerStride) / WIDTH + first * step + (index % columns) * params.innerStride;

  var best = input[at];
  var bestIndex = Index(i32(first));
  for (var k = first + 1; k < last; k++) {
    at += step;
    let value = input[at];
    bestIndex = select(bestIndex, Index(i32(k)), value > best);
    best = max(best, value);
  }
  values[index] = best;
  indices[index] = bestIndex;
}
