// Softmax or logSoftmax with a thread for each line. Three reads of the line beat the online pass of 1805.02867, which rescales its
// sum: exp(0) need not be exactly 1, and such an error compounds along the line.

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

@group(0) @binding(0) var<storage, read> x: array<Element>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read_write> y: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

// The largest element of a line, from the largest of each component.
fn lineMax(value: Element) -> Element {
  if (ROW_VEC == 1u) { return value; }
  let v = vec4<f32>(value);
  return Element(max(max(v.x, v.y), max(v.z, v.w)));
}

fn lineSum(value: Element) -> Element {
  if (ROW_VEC == 1u) { return value; }
  let v = vec4<f32>(value);
  return Element((v.x + v.y) + (v.z + v.w));
}

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn lineOrNaN(value: Element, sum: Element) -> Element {
  var nan = Bits(0x7fc00000u); // A variable, because a constant expression may not be NaN.
  return select(bitcast<Element>(nan), value, bitcast<Bits>(sum) - Bits(1u) < Bits(0x7f7fffffu));
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

  var largest = x[own.x + start];
  for (var i = start; i < end; i += step) {
    largest = max(largest, x[own.x + i]);
    if (UNROLL == 2u) { largest = max(largest, x[own.x + i + inner]); }
  }
  largest = lineMax(largest);
  var sum = Element(0.0);
  var levels: Levels;
  var i = start;
  loop {
    let stop = select(end, min(i + BLOCK * inner, end), LONG);
    for (; i < stop; i += step) {
      var part = exp(x[own.x + i] - largest);
      if (UNROLL == 2u) { part += exp(x[own.x + i + inner] - largest); }
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
  if (LOG) {
    let logSum = lineOrNaN(log(sum), sum);
    for (var i = start; i < end; i += step) {
      y[own.y + i] = x[own.x + i] - largest - logSum;
      if (UNROLL == 2u) { y[own.y + i + inner] = x[own.x + i + inner] - largest - logSum; }
    }
  } else {
    let scale = lineOrNaN(1.0 / sum, sum);
    for (var i = start; i < end; i += step) {
      y[own.y + i] = exp(x[own.x + i] - largest) * scale;
      if (UNROLL == 2u) { y[own.y + i + inner] = exp(x[own.x + i + inner] - largest) * scale; }
    }
  }
}
