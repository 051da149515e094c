// Layer normalization (1607.06450) with a workgroup for each row and tree reductions in workgroup memory. All sums are of x -
// x[first of the row], because a large common mean eats the digits of the differences, and the mean itself, rounded to f32, is too
// coarse to subtract.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 256u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  rows: u32, n: u32, xOffset: u32, xStride: u32, eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [rows, n], rows xStride apart
@group(0) @binding(1) var<storage, read> weight: array<Element>; // [n]
@group(0) @binding(2) var<storage, read> bias: array<Element>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<Element>; // [rows, n]
@group(0) @binding(4) var<storage, read_write> center: array<f32>; // [rows]: the mean minus the first element
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>; // [rows]: the result of rstdOf
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

fn rowSumByTree(value: Element, local: u32) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  partial[local] = ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { partial[local] += partial[local + half]; }
  }
  workgroupBarrier();
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

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
  let row = wid.y * groups.x + wid.x;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let n = params.n / ROW_VEC;
  let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
  let yRow = own.w / ROW_VEC + row * n;
  let weightAt = own.y / ROW_VEC;
  let biasAt = own.z / ROW_VEC;
  let first = vec4<f32>(x[xRow]).x;

  var sum = Element(0.0);
  var sumLevels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    sum += x[xRow + j] - first;
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&sumLevels, &sum); }
  }
  if (LONG) { sum = sumOf(sumLevels, sum); }
  let mean = rowSumByTree(sum, local) / f32(params.n);
  var squares = Element(0.0);
  var squareLevels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    let d = x[xRow + j] - first - mean;
    squares += d * d;
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&squareLevels, &squares); }
  }
  if (LONG) { squares = sumOf(squareLevels, squares); }
  let scale = rstdOf(rowSumByTree(squares, local) / f32(params.n));
  for (var j = local; j < n; j += WORKGROUP) {
    y[yRow + j] = (x[xRow + j] - first - mean) * scale * weight[weightAt + j] + bias[biasAt + j];
  }
  if (local == 0u) {
    center[rest.x + row] = mean;
    rstd[rest.y + row] = scale;
  }
}
