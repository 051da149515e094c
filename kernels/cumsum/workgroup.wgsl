// Running sums along lines. A workgroup takes a piece of a line, tile by tile: each thread sums ITEMS neighbours, the threads' sums are
// scanned in two levels (GROUP threads, then groups), and the sum before the tile is added. The order of all additions is fixed.

alias Scalar = f32;
alias Sum = Scalar;
const WORKGROUP: u32 = 256u;
// The threads whose sums one thread adds up. Its square is WORKGROUP.
const GROUP: u32 = 16u;
const ITEMS: u32 = 4u;
// The elements that are loaded and stored at once, and their type: all items where a line's elements are neighbours and come in fours.
const VEC: u32 = 1u;
alias Element = Scalar;
// Four(v)[0] is the first element of a vector, or the whole vector of an array of one.
alias Four = vec4<Scalar>;
// Whether pieces are longer than a tile, and lines than a piece.
const TILES: bool = true;
const PIECES: bool = true;
// Whether sums run from the end of the line.
const REVERSE: bool = false;

struct Params { outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32 }

@group(0) @binding(0) var<storage, read> x: array<Element>; // [outer, n, inner]
// [outer, chunks, inner]: the running sums of the pieces' sums, which are not read where a line is one piece.
@group(0) @binding(1) var<storage, read> sums: array<Scalar>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> threadSums: array<Scalar, WORKGROUP>;
var<workgroup> groupSums: array<Scalar, WORKGROUP / GROUP>;

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
  let inner = params.inner;
  let group = wid.y * groups.x + wid.x;
  if (group >= params.outer * params.chunks * inner) { return; }
  var row = group / inner;
  var piece = 0u;
  var first = 0u;
  var last = params.n - 1u;
  if (PIECES) {
    piece = row % params.chunks;
    row /= params.chunks;
    first = piece * params.chunk;
    last = min(first + params.chunk, params.n) - 1u;
  }
  let n = last - first + 1u;
  let start = row * params.n * inner + group % inner;

  var carry = Scalar();
  if (PIECES && REVERSE && piece + 1u < params.chunks) { carry = sums[group + inner]; }
  if (PIECES && !REVERSE && piece > 0u) { carry = sums[group - inner]; }
  var levels: BlockLevels;
  for (var tile = 0u; tile < n; tile += WORKGROUP * ITEMS) {
    var running: array<Scalar, ITEMS>;
    var sum = Scalar();
    if (VEC == ITEMS) {
      let j = tile + local * ITEMS;
      let four = vec4<Scalar>(x[(start + select(first + j, last - j, REVERSE)) / VEC]);
      for (var k = 0u; k < ITEMS; k++) {
        if (j < n) { sum += select(four[k], four[ITEMS - 1u - k], REVERSE); }
        running[k] = sum;
      }
    } else {
      for (var k = 0u; k < ITEMS; k++) {
        let j = tile + local * ITEMS + k;
        // The vec4() and .x let this compile where the element is a vector too.
        if (j < n) { sum += vec4<Scalar>(x[start + select(first + j, last - j, REVERSE) * inner]).x; }
        running[k] = sum;
      }
    }
    threadSums[local] = sum;
    workgroupBarrier();
    if (local < WORKGROUP / GROUP) {
      var groupSum = Scalar();
      for (var t = 0u; t < GROUP; t++) { groupSum += threadSums[local * GROUP + t]; }
      groupSums[local] = groupSum;
    }
    workgroupBarrier();
    var total = Scalar();
    var before = Scalar();
    for (var g = 0u; g < WORKGROUP / GROUP; g++) {
      if (g == local / GROUP) { before = total; }
      total += groupSums[g];
    }
    for (var t = local / GROUP * GROUP; t < local; t++) { before += threadSums[t]; }
    if (PIECES) { before += carry; }
    if (TILES) {
      before += levelSum(levels);
      join(&levels, total);
    }
    if (VEC == ITEMS) {
      let j = tile + local * ITEMS;
      let four = before + vec4(running[0], running[1], running[2], running[3]);
      if (j < n) { y[(start + select(first + j, last - j, REVERSE)) / VEC] = Four(select(four, four.wzyx, REVERSE))[0]; }
    } else {
      for (var k = 0u; k < ITEMS; k++) {
        let j = tile + local * ITEMS + k;
        if (j < n) { y[start + select(first + j, last - j, REVERSE) * inner] = Four(vec4(before + running[k]))[0]; }
      }
    }
    workgroupBarrier();
  }
}
