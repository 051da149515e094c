// The gradient of softmax or logSoftmax from its output, with a workgroup for each line: a subgroup reduction, then one exchange
// through workgroup memory. Nothing is assumed of how invocations map to subgroups, nor that all subgroups are full.
enable subgroups;

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 256u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a line in one Element.
const ROW_VEC: u32 = 1u;
const LOG: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  outer: u32, n: u32, inner: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Element>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> dy: array<Element>; // [outer, n, inner]
@group(0) @binding(2) var<storage, read_write> dx: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<f32, WORKGROUP>;

fn lineSumBySubgroups(value: Element, local: u32) -> f32 {
  let rank = subgroupExclusiveAdd(1u);
  let count = subgroupAdd(1u);
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  let ofSubgroup = subgroupAdd(((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25));
  // Each subgroup's sum is written by another lane, so that the additions below are spread over all lanes.
  let writer = (subgroupBroadcastFirst(local) >> firstTrailingBit(count)) & (count - 1u);
  sums[local] = select(0.0, ofSubgroup, rank == writer);
  workgroupBarrier();
  var sum = 0.0;
  for (var i = rank; i < WORKGROUP; i += count) { sum += sums[i]; }
  return subgroupAdd(sum);
}

// The sum, or the output where that is NaN, as it then is all along the line. e^NaN is not NaN on every driver.
fn spoiledSum(sum: f32, output: f32) -> f32 {
  return select(sum, output, (bitcast<u32>(output) & 0x7fffffffu) > 0x7f800000u);
}

// The levels of a long sum: blocks of some 8 to 16 terms, then sums of 16 of the level below. So rounding hardly grows with the length.
struct Levels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum, e: Sum }

// Ends a block: adds its sum to the lowest level, and a level of 16 sums to the next one.
fn carry(levels: ptr<function, Levels>, sum: ptr<function, Sum>) {
  (*levels).blocks += 1u;
  (*levels).a += *sum;
  *sum = Sum();
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a;
  (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b;
  (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c;
  (*levels).c = Sum();
  if ((*levels).blocks % 65536u != 0u) { return; }
  (*levels).e += (*levels).d;
  (*levels).d = Sum();
}

fn sumOf(levels: Levels, rest: Sum) -> Sum {
  return levels.e + (levels.d + (levels.c + (levels.b + (levels.a + rest))));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let n = params.n / ROW_VEC;
  let inner = params.inner;
  let line = wid.y * groups.x + wid.x;
  if (line >= params.outer * inner) { return; }
  let own = wid.z * params.strides[0] / ROW_VEC; // the first elements of this branch's operands
  let start = line / inner * n * inner + line % inner;

  var threadSum = Element(0.0);
  var levels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    let i = start + j * inner;
    if (LOG) { threadSum += dy[own.y + i]; } else { threadSum += y[own.x + i] * dy[own.y + i]; }
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&levels, &threadSum); }
  }
  if (LONG) { threadSum = sumOf(levels, threadSum); }
  let sum = spoiledSum(lineSumBySubgroups(threadSum, local), vec4<f32>(y[own.x + start]).x);
  for (var j = local; j < n; j += WORKGROUP) {
    let i = start + j * inner;
    if (LOG) { dx[own.z + i] = dy[own.y + i] - exp(y[own.x + i]) * sum; } else { dx[own.z + i] = y[own.x + i] * (dy[own.y + i] - sum); }
  }
}
