// Softmax or logSoftmax with a workgroup for each line and tree reductions in workgroup memory.

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

@group(0) @binding(0) var<storage, read> x: array<Element>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read_write> y: array<Element>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

fn maxByTree(value: Element, local: u32) -> f32 {
  let v = vec4<f32>(value);
  partial[local] = max(max(v.x, v.y), max(v.z, v.w));
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { partial[local] = max(partial[local], partial[local + half]); }
  }
  workgroupBarrier();
  let largest = partial[0];
  workgroupBarrier();
  return largest;
}

fn sumByTree(value: Element, local: u32) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  partial[local] = ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { partial[local] += partial[local + half]; }
  }
  workgroupBarrier();
  return partial[0];
}

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn orNaN(value: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(bitcast<f32>(nan), value, bitcast<u32>(sum) - 1u < 0x7f7fffffu);
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

  // A thread past the end takes the last Element, which changes no maximum.
  var threadMax = x[own.x + start + min(local, n - 1u) * inner];
  for (var j = local; j < n; j += WORKGROUP) { threadMax = max(threadMax, x[own.x + start + j * inner]); }
  let largest = maxByTree(threadMax, local);
  var threadSum = Element(0.0);
  var levels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    threadSum += exp(x[own.x + start + j * inner] - largest);
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&levels, &threadSum); }
  }
  if (LONG) { threadSum = sumOf(levels, threadSum); }
  let sum = sumByTree(threadSum, local);
  if (LOG) {
    let logSum = orNaN(log(sum), sum);
    for (var j = local; j < n; j += WORKGROUP) {
      let i = start + j * inner;
      y[own.y + i] = x[own.x + i] - largest - logSum;
    }
  } else {
    let scale = orNaN(1.0 / sum, sum);
    for (var j = local; j < n; j += WORKGROUP) {
      let i = start + j * inner;
      y[own.y + i] = exp(x[own.x + i] - largest) * scale;
    }
  }
}
