// Running sums along lines. A thread takes a piece of a line. Sums within blocks of BLOCK elements are added to the sum before the
// block.

// f32, i32, or a vec4 of the same place of 4 neighbouring lines.
alias Element = f32;
alias Sum = Element;
const BLOCK: u32 = 16u;
// Whether pieces are longer than a block, and lines than a piece.
const BLOCKS: bool = true;
const PIECES: bool = true;
const WORKGROUP: u32 = 64u;
// The lines in one Element.
const LINE_VEC: u32 = 1u;
// Whether sums run from the end of the line.
const REVERSE: bool = false;

struct Params { outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32 }

@group(0) @binding(0) var<storage, read> x: array<Element>; // [outer, n, inner]
// [outer, chunks, inner]: the running sums of the pieces' sums, which are not read where a line is one piece.
@group(0) @binding(1) var<storage, read> sums: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [outer, n, inner]
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
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let inner = params.inner / LINE_VEC;
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (thread >= params.outer * params.chunks * inner) { return; }
  let place = thread / inner;
  var row = place;
  var piece = 0u;
  var first = 0u;
  var last = params.n - 1u;
  if (PIECES) {
    row = place / params.chunks;
    piece = place % params.chunks;
    first = piece * params.chunk;
    last = min(first + params.chunk, params.n) - 1u;
  }
  let line = row * params.n * inner + thread % inner;
  // The step to the next element. Towards the start of the line it wraps.
  let step = select(inner, 0u - inner, REVERSE);
  var at = line + select(first, last, REVERSE) * inner;

  var before = Element();
  if (PIECES && REVERSE && piece + 1u < params.chunks) { before = sums[thread + inner]; }
  if (PIECES && !REVERSE && piece > 0u) { before = sums[thread - inner]; }
  var origin = before;
  var levels: BlockLevels;
  var left = last - first + 1u;
  loop {
    let block = select(left, min(left, BLOCK), BLOCKS);
    var sum = Element();
    var j = 0u;
    for (; j + 4u <= block; j += 4u) {
      let at1 = at + step;
      let at2 = at1 + step;
      let at3 = at2 + step;
      let sum0 = sum + x[at];
      let sum1 = sum0 + x[at1];
      let sum2 = sum1 + x[at2];
      sum = sum2 + x[at3];
      y[at] = origin + sum0;
      y[at1] = origin + sum1;
      y[at2] = origin + sum2;
      y[at3] = origin + sum;
      at = at3 + step;
    }
    for (; j < block; j++) {
      sum += x[at];
      y[at] = origin + sum;
      at += step;
    }
    left -= block;
    if (!BLOCKS || left == 0u) { break; }
    join(&levels, sum);
    origin = before + levelSum(levels);
  }
}
