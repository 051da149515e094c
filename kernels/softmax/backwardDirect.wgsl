// The gradient of softmax or logSoftmax from its output, with a thread for each line.

alias Element = f32;
alias Sum = Element;
alias Bits = u32;
const WORKGROUP: u32 = 64u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a line in one Element, and the neighbouring lines in one Element. At most one of them is 4.
const ROW_VEC: u32 = 1u;
const LINE_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a line. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// Whether there are so many blocks that their sums must be added up in levels.
const LEVELS: bool = false;
// Elements of a block of LONG sums.
const BLOCK: u32 = select(48u, 16u, LEVELS) * UNROLL;
const LOG: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
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
  let inner = params.inner / LINE_VEC;
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (line >= params.outer * inner) { return; }
  let own = wid.z * params.strides[0] / (ROW_VEC * LINE_VEC); // the first elements of this branch's operands
  let start = line / inner * n * inner + line % inner;
  let end = start + n * inner;
  let step = inner * UNROLL;

  var sum = Element(0.0);
  var levels: Levels;
  if (LOG) {
    var i = start;
    loop {
      let stop = select(end, min(i + BLOCK * inner, end), LONG);
      for (; i < stop; i += step) {
        var part = dy[own.y + i];
        if (UNROLL == 2u) { part += dy[own.y + i + inner]; }
        sum += part;
      }
      if (!LONG) { break; }
      if (LEVELS) {
        carry(&levels, &sum);
      } else {
        levels.a += sum;
        sum = Sum();
      }
      if (i >= end) { break; }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    sum = spoiledLine(lineSum(sum), y[own.x + start]);
    for (var i = start; i < end; i += step) {
      dx[own.z + i] = dy[own.y + i] - exp(y[own.x + i]) * sum;
      if (UNROLL == 2u) { dx[own.z + i + inner] = dy[own.y + i + inner] - exp(y[own.x + i + inner]) * sum; }
    }
  } else {
    var i = start;
    loop {
      let stop = select(end, min(i + BLOCK * inner, end), LONG);
      for (; i < stop; i += step) {
        var part = y[own.x + i] * dy[own.y + i];
        if (UNROLL == 2u) { part += y[own.x + i + inner] * dy[own.y + i + inner]; }
        sum += part;
      }
      if (!LONG) { break; }
      if (LEVELS) {
        carry(&levels, &sum);
      } else {
        levels.a += sum;
        sum = Sum();
      }
      if (i >= end) { break; }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    sum = lineSum(sum);
    for (var i = start; i < end; i += step) {
      dx[own.z + i] = y[own.x + i] * (dy[own.y + i] - sum);
      if (UNROLL == 2u) { dx[own.z + i + inner] = y[own.x + i + inner] * (dy[own.y + i + inner] - sum); }
    }
  }
}
