// The moments of the planes of a tensor [batch, channels, n], with a thread for each plane. All sums are of x minus the first element of the
// plane's row of statistics, because a large common mean eats the digits of the differences.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// The neighbours of a plane in one Element.
const ROW_VEC: u32 = 1u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, n: u32, // [batch, channels, n]: the planes are batch times channels
  rows: u32, planesPerRow: u32, rowStep: u32, planeStep: u32, // row r has the planes r rowStep + k planeStep
  rowsPerBatch: u32, channelsPerRow: u32, // a plane is of row (batch rowsPerBatch + channel / channelsPerRow)
  eps: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [planes, n]
@group(0) @binding(1) var<storage, read_write> moments: array<vec2<f32>>; // [planes]: the mean of the differences, and the sum of squares around it
@group(1) @binding(0) var<uniform> params: Params;

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}
// The row of statistics of a plane.
fn rowOf(plane: u32) -> u32 {
  return plane / params.channels * params.rowsPerBatch + plane % params.channels / params.channelsPerRow;
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
  let plane = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (plane >= params.planes) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let n = params.n / ROW_VEC;
  let start = own.x / ROW_VEC + plane * n;
  let first = vec4<f32>(x[own.x / ROW_VEC + rowOf(plane) * params.rowStep * n]).x;

  var sum = Element(0.0);
  var sumLevels: Levels;
  for (var i = 0u; i < n; i += 1u) {
    sum += x[start + i] - first;
    if (LONG && i % 16u == 15u) { carry(&sumLevels, &sum); }
  }
  if (LONG) {
    sum = sumOf(sumLevels, sum);
  }
  let mean = rowSum(sum) / f32(params.n);
  var squares = Element(0.0);
  var squareLevels: Levels;
  for (var i = 0u; i < n; i += 1u) {
    let d = x[start + i] - first - mean;
    squares += d * d;
    if (LONG && i % 16u == 15u) { carry(&squareLevels, &squares); }
  }
  if (LONG) {
    squares = sumOf(squareLevels, squares);
  }
  let total = rowSum(squares);
  moments[own.y / 2u + plane] = vec2(mean, total);
}
