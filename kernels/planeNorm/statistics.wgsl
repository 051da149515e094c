// The statistics of rows from the moments of their planes (Chan, Golub and LeVeque, 1983), with a thread for each row.

alias Sum = f32;
const WORKGROUP: u32 = 64u;
// Whether running statistics follow.
const RUNNING: bool = false;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, n: u32, // [batch, channels, n]: the planes are batch times channels
  rows: u32, planesPerRow: u32, rowStep: u32, planeStep: u32, // row r has the planes r rowStep + k planeStep
  rowsPerBatch: u32, channelsPerRow: u32, // a plane is of row (batch rowsPerBatch + channel / channelsPerRow)
  eps: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // [planes, n]
@group(0) @binding(1) var<storage, read> moments: array<vec2<f32>>; // [planes]: the mean minus the row's first element, the sum of squares
@group(0) @binding(2) var<storage, read_write> statistics: array<vec4<f32>>; // [rows]: first element, mean minus it, rstd
@group(0) @binding(3) var<storage, read_write> runningMean: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read_write> runningVariance: array<f32>; // [rows]
@group(1) @binding(0) var<uniform> params: Params;

// 1 / sqrt(variance + eps), or NaN where the variance is beyond float32, which otherwise makes the normalized row 0. The test is of
// the bits because compilers may assume that a float is finite.
fn rstdOf(variance: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(1.0 / sqrt(variance + params.eps), bitcast<f32>(nan), (bitcast<u32>(variance) & 0x7f800000u) == 0x7f800000u);
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
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let first = own.y / 2u + row * params.rowStep;
  var sum = 0.0;
  var sumLevels: Levels;
  for (var k = 0u; k < params.planesPerRow; k++) {
    sum += moments[first + k * params.planeStep].x;
    if (k % 16u == 15u) { carry(&sumLevels, &sum); }
  }
  let mean = sumOf(sumLevels, sum) / f32(params.planesPerRow);
  var squares = 0.0;
  var squareLevels: Levels;
  for (var k = 0u; k < params.planesPerRow; k++) {
    let plane = moments[first + k * params.planeStep];
    squares += plane.y + f32(params.n) * (plane.x - mean) * (plane.x - mean);
    if (k % 16u == 15u) { carry(&squareLevels, &squares); }
  }
  let total = sumOf(squareLevels, squares);
  let count = f32(params.planesPerRow) * f32(params.n);
  let begin = x[own.x + row * params.rowStep * params.n];
  statistics[own.z / 4u + row] = vec4(begin, mean, rstdOf(total / count), 0.0);
  if (RUNNING) {
    let at = own.w + row;
    let varianceAt = wid.z * params.strides[1].x + row;
    runningMean[at] = (1.0 - params.momentum) * runningMean[at] + params.momentum * (begin + mean);
    // The estimate without bias, as in PyTorch; of one element it is NaN.
    let variance = total / (count - 1.0);
    runningVariance[varianceAt] = (1.0 - params.momentum) * runningVariance[varianceAt] + params.momentum * variance;
  }
}
