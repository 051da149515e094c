// Sum along the middle axis of [outer, n, inner]: a thread for each output, or for four that are neighbours in memory
// (Value = vec4). Sums of BLOCK elements in four accumulators are added up apart, so that rounding grows with the number of blocks.

alias Scalar = f32;
alias Input = f32;
alias Value = f32;
const WIDTH: u32 = 1;
const BLOCK: u32 = 256;
const WORKGROUP: u32 = 64;

struct Params {
  strides: array<vec4<u32>, 1>, // from branch to branch, of each binding
  outer: u32,
  n: u32,
  inner: u32,
  chunk: u32,
  chunks: u32,
  offset: u32,
  outerStride: u32,
  nStride: u32,
  innerStride: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read_write> output: array<Value>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let columns = params.inner / WIDTH;
  if (index >= params.outer * params.chunks * columns) {
    return;
  }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let piece = index / columns;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let step = params.nStride / WIDTH;
  var at = (own.x + params.offset + row * params.outerStride) / WIDTH + first * step + (index % columns) * params.innerStride;

  var total = Value();
  var k = first;
  while (k < last) {
    let stop = min(k + BLOCK, last);
    var a = Value();
    var b = Value();
    var c = Value();
    var d = Value();
    for (; k + 4 <= stop; k += 4) {
      a += Value(input[at]);
      b += Value(input[at + step]);
      c += Value(input[at + 2 * step]);
      d += Value(input[at + 3 * step]);
      at += 4 * step;
    }
    for (; k < stop; k++) {
      a += Value(input[at]);
      at += step;
    }
    total += (a + b) + (c + d);
  }
  output[own.y / WIDTH + index] = total * Value(Scalar(params.scale));
}
