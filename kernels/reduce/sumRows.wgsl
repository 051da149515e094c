// Sum along a contiguous axis: a thread for each output, four vec4 loads at a time in accumulators of their own. Every offset,
// stride and length is a multiple of 4.

alias Scalar = f32;
alias Input = vec4<f32>;
alias Quad = vec4<f32>;
alias Sum = Quad;
// Quads summed before they join the total.
const BLOCK: u32 = 64;
const WORKGROUP: u32 = 64;

struct Params {
  strides: array<vec4<u32>, 1>, // from branch to branch, of each binding
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read_write> output: array<Scalar>;
@group(1) @binding(0) var<uniform> params: Params;

// Sums of 16 sums each: of blocks, of 16 blocks, of 256; the last takes all others. No chain of additions is long, so that rounding
// hardly grows with their number.
struct Levels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum }

fn join(levels: ptr<function, Levels>, block: Sum) {
  (*levels).a += block;
  (*levels).blocks += 1u;
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a;
  (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b;
  (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c;
  (*levels).c = Sum();
}

fn sumOf(levels: Levels) -> Sum {
  return levels.d + (levels.c + (levels.b + levels.a));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (index >= params.outer * params.chunks * params.inner) { return; }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let piece = index / params.inner;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let start = own.x + params.offset + row * params.outerStride + (index % params.inner) * params.innerStride;
  var at = (start + first) / 4;
  let end = (start + min(first + params.chunk, params.n)) / 4;

  var levels: Levels;
  while (at < end) {
    let stop = min(at + BLOCK, end);
    var a = Quad();
    var b = Quad();
    var c = Quad();
    var d = Quad();
    for (; at + 4 <= stop; at += 4) {
      a += Quad(input[at]);
      b += Quad(input[at + 1]);
      c += Quad(input[at + 2]);
      d += Quad(input[at + 3]);
    }
    for (; at < stop; at++) { a += Quad(input[at]); }
    join(&levels, (a + b) + (c + d));
  }
  let total = sumOf(levels);
  output[own.y + index] = ((total.x + total.y) + (total.z + total.w)) * Scalar(params.scale);
}
