// RMSNorm (1910.07467) with a thread for each row: y = x * rstd * weight with rstd = 1 / sqrt(mean(x * x) + eps).

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// Whether there are so many blocks that their sums must be added up in levels.
const LEVELS: bool = false;
// Elements of a block of LONG sums.
const BLOCK: u32 = select(48u, 16u, LEVELS) * UNROLL;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  rows: u32, n: u32, xOffset: u32, xStride: u32, eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [rows, n], rows xStride apart
@group(0) @binding(1) var<storage, read> weight: array<Element>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [rows, n]
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>; // [rows]: the result of rstdOf
@group(1) @binding(0) var<uniform> params: Params;

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
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
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let n = params.n / ROW_VEC;
  let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
  let weightAt = own.y / ROW_VEC;
  let yRow = own.z / ROW_VEC + row * n;

  var squares = Element(0.0);
  var squareLevels: Levels;
  var i = 0u;
  loop {
    let stop = select(n, min(i + BLOCK, n), LONG);
    for (; i < stop; i += UNROLL) {
      var part = x[xRow + i] * x[xRow + i];
      if (UNROLL == 2u) { part += x[xRow + i + 1u] * x[xRow + i + 1u]; }
      squares += part;
    }
    if (!LONG) { break; }
    if (LEVELS) {
      carry(&squareLevels, &squares);
    } else {
      squareLevels.a += squares;
      squares = Sum();
    }
    if (i >= n) { break; }
  }
  if (LONG) { squares = sumOf(squareLevels, squares); }
  let scale = rstdOf(rowSum(squares) / f32(params.n));
  for (var j = 0u; j < n; j += UNROLL) {
    y[yRow + j] = x[xRow + j] * scale * weight[weightAt + j];
    if (UNROLL == 2u) { y[yRow + j + 1u] = x[xRow + j + 1u] * scale * weight[weightAt + j + 1u]; }
  }
  rstd[own.w + row] = scale;
}
