// The sum along the middle axis of [outer, n, inner]. A workgroup takes COLUMNS outputs (or vec4s of outputs) with LANES threads
// each, and a tree reduction in workgroup memory. A lane sums BLOCK elements in two accumulators, and the sums of blocks in levels.
// Where outputs are single and their elements neighbours, it takes four of these at once (ALONG) and adds up their sums at the end.

alias Scalar = f32;
alias Input = f32;
alias Value = f32;
alias Sum = Value;
// The type of an output, and the parts of a Value that are added up to it: Parts(value)[i] is an output.
alias Output = Value;
alias Parts = array<Value, 1>;
const PARTS: u32 = 1;
const WIDTH: u32 = 1;
const ALONG: u32 = 1;
const COLUMNS: u32 = 1;
const LANES: u32 = 256;
const BLOCK: u32 = 32;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // [outer, chunks, inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<Output, COLUMNS * LANES>;

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

@compute @workgroup_size(COLUMNS, LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = wid.y * groups.x + wid.x;
  let columns = params.inner / WIDTH;
  let tiles = (columns + COLUMNS - 1) / COLUMNS;
  if (group >= params.outer * params.chunks * tiles) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let piece = group / tiles;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk / ALONG;
  let last = min(first + params.chunk / ALONG, params.n / ALONG);
  let column = (group % tiles) * COLUMNS + local.x;
  let step = params.nStride / WIDTH;
  let start = (own.x + params.offset + row * params.outerStride) / (WIDTH * ALONG) + column * params.innerStride / ALONG;

  var levels: BlockLevels;
  if (column < columns) {
    var k = first + local.y;
    while (k < last) {
      let stop = min(k + BLOCK * LANES, last);
      var a = Value();
      var b = Value();
      for (; k + LANES < stop; k += 2 * LANES) {
        a += Value(input[start + k * step]);
        b += Value(input[start + (k + LANES) * step]);
      }
      if (k < stop) {
        a += Value(input[start + k * step]);
        k += LANES;
      }
      join(&levels, a + b);
    }
  }
  let slot = local.y * COLUMNS + local.x;
  var parts = Parts(levelSum(levels));
  sums[slot] = parts[0];
  for (var i = 1u; i < PARTS; i++) { sums[slot] += parts[i]; }
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local.y < half) { sums[slot] += sums[slot + half * COLUMNS]; }
  }
  if (local.y == 0 && column < columns) {
    output[own.y / WIDTH + piece * columns + column] = sums[slot] * Output(Scalar(params.scale));
  }
}
