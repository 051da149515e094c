// The sum along a contiguous axis. A thread takes one output, with four vec4 loads at a time into accumulators of their own. Every
// offset, stride and length is a multiple of 4.

alias Scalar = f32;
alias Input = vec4<f32>;
alias Quad = vec4<f32>;
alias Sum = Quad;
// The quads that are summed before their sum joins the levels.
const BLOCK: u32 = 64;
const WORKGROUP: u32 = 64;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> output: array<Scalar>; // [outer, chunks, inner]
@group(1) @binding(0) var<uniform> params: Params;

// The levels of a long sum: a adds up 16 blocks, b 16 sums of a, c 16 of b, and d the rest. So rounding hardly grows with the length.
struct BlockLevels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum }

fn join(levels: ptr<function, BlockLevels>, block: Sum) {
  (*levels).a += block;
  (*levels).blocks += 1u;
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a; (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b; (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c; (*levels).c = Sum();
}

fn levelSum(levels: BlockLevels) -> Sum {
  return levels.d + (levels.c + (levels.b + levels.a));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (index >= params.outer * params.chunks * params.inner) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let piece = index / params.inner;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let start = own.x + params.offset + row * params.outerStride + (index % params.inner) * params.innerStride;
  var at = (start + first) / 4;
  let end = (start + min(first + params.chunk, params.n)) / 4;

  var levels: BlockLevels;
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
  let total = levelSum(levels);
  output[own.y + index] = ((total.x + total.y) + (total.z + total.w)) * Scalar(params.scale);
}
