// The gradient of softmax or logSoftmax from its output, with a thread for each line.

alias Element = f32;
alias Sum = Element;
alias Bits = u32;
const WORKGROUP: u32 = 64u;
// Whether a thread adds up so many terms that it does so in levels.
const LONG: bool = false;
// The neighbours of a line in one Element, and the neighbouring lines in one Element. At most one of them is 4.
const ROW_VEC: u32 = 1u;
const LINE_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a line. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
const LOG: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // of each binding, from branch to branch
  outer: u32, n: u32, inner: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Element>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> dy: array<Element>; // [outer, n, inner]
@group(0) @binding(2) var<storage, read_write> dx: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

fn lineSum(value: Element) -> Element {
  if (ROW_VEC == 1u) { return value; }
  let v = vec4<f32>(value);
  return Element((v.x + v.y) + (v.z + v.w));
}

// The sum, or the output where that is NaN, as it then is all along the line. e^NaN is not NaN on every driver.
fn spoiledLine(sum: Element, output: Element) -> Element {
  return select(sum, output, (bitcast<Bits>(output) & Bits(0x7fffffffu)) > Bits(0x7f800000u));
}

// Where a thread adds up many terms: sums of 8 turns of a loop, of 16 such sums, and so on by 16. No chain of additions is long, so
// that rounding hardly grows with their number.
struct Levels { turns: u32, a: Sum, b: Sum, c: Sum, d: Sum, e: Sum }

// Ends a turn: every 8 turns, moves the sum up.
fn carry(levels: ptr<function, Levels>, sum: ptr<function, Sum>) {
  (*levels).turns += 1u;
  if ((*levels).turns % 8u != 0u) { return; }
  (*levels).a += *sum;
  *sum = Sum();
  if ((*levels).turns % 128u != 0u) { return; }
  (*levels).b += (*levels).a;
  (*levels).a = Sum();
  if ((*levels).turns % 2048u != 0u) { return; }
  (*levels).c += (*levels).b;
  (*levels).b = Sum();
  if ((*levels).turns % 32768u != 0u) { return; }
  (*levels).d += (*levels).c;
  (*levels).c = Sum();
  if ((*levels).turns % 524288u != 0u) { return; }
  (*levels).e += (*levels).d;
  (*levels).d = Sum();
}

fn sumOf(levels: Levels, rest: Sum) -> Sum {
  return levels.e + (levels.d + (levels.c + (levels.b + (levels.a + rest))));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lid: u32) {
  let n = params.n / ROW_VEC;
  let inner = params.inner / LINE_VEC;
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (line >= params.outer * inner) { return; }
  let own = wid.z * params.strides[0] / (ROW_VEC * LINE_VEC); // the first elements of this branch's operands
  let start = line / inner * n * inner + line % inner;
  let end = start + n * inner;
  let step = inner * UNROLL;

  var sum = Element(0.0);
  var levels: Levels;
  if (LOG) {
    for (var i = start; i < end; i += step) {
      sum += dy[own.y + i];
      if (UNROLL == 2u) { sum += dy[own.y + i + inner]; }
      if (LONG) { carry(&levels, &sum); }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    sum = spoiledLine(lineSum(sum), y[own.x + start]);
    for (var i = start; i < end; i += step) {
      dx[own.z + i] = dy[own.y + i] - exp(y[own.x + i]) * sum;
      if (UNROLL == 2u) { dx[own.z + i + inner] = dy[own.y + i + inner] - exp(y[own.x + i + inner]) * sum; }
    }
  } else {
    for (var i = start; i < end; i += step) {
      sum += y[own.x + i] * dy[own.y + i];
      if (UNROLL == 2u) { sum += y[own.x + i + inner] * dy[own.y + i + inner]; }
      if (LONG) { carry(&levels, &sum); }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    sum = lineSum(sum);
    for (var i = start; i < end; i += step) {
      dx[own.z + i] = y[own.x + i] * (dy[own.y + i] - sum);
      if (UNROLL == 2u) { dx[own.z + i + inner] = y[own.x + i + inner] * (dy[own.y + i + inner] - sum); }
    }
  }
}
