// The sum along the middle axis of [outer, n, inner]. A thread takes one output, or four neighbours in memory (Value = vec4).
// Blocks of BLOCK elements are summed in four accumulators, and the sums of blocks in levels.

alias Scalar = f32;
alias Input = f32;
alias Value = f32;
alias Sum = Value;
const WIDTH: u32 = 1;
const BLOCK: u32 = 64;
const WORKGROUP: u32 = 64;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> output: array<Value>; // [outer, chunks, inner]
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
  let columns = params.inner / WIDTH;
  if (index >= params.outer * params.chunks * columns) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let piece = index / columns;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let step = params.nStride / WIDTH;
  var at = (own.x + params.offset + row * params.outerStride) / WIDTH + first * step + (index % columns) * params.innerStride;

  var levels: BlockLevels;
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
    join(&levels, (a + b) + (c + d));
  }
  output[own.y / WIDTH + index] = levelSum(levels) * Value(Scalar(params.scale));
}
