// The cross-entropy of each row of logits with its label, and its gradient, with a thread for each row:
// dlogits = (softmax(logits) - onehot(label)) * scale. The loss is (max - logit of the label) + log(sum), because logsumexp loses its digits
// where logits are large.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// The place of each component in its Element: 0, 1, 2, 3 in a vec4.
const LANES: Element = Element(0.0);
// Whether there are so many blocks that their sums must be added up in levels.
const LEVELS: bool = false;
// Elements of a block of LONG sums.
const BLOCK: u32 = select(48u, 16u, LEVELS) * UNROLL;
// Whether labels are smoothed (1512.00567), and whether one label marks rows that count nothing.
const SMOOTH: bool = false;
const IGNORE: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  rows: u32, classes: u32, nan: u32,
  labelRows: u32, // the rows after which labels repeat
  scale: f32, // the gradient of each row's loss
  smoothing: f32, ignored: i32, // the share of all classes, and the label of rows without loss
}

@group(0) @binding(0) var<storage, read> logits: array<Element>; // [rows, classes]
@group(0) @binding(1) var<storage, read> labels: array<i32>; // [labelRows]
@group(0) @binding(2) var<storage, read_write> losses: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read_write> dlogits: array<Element>; // [rows, classes]
@group(1) @binding(0) var<uniform> params: Params;

// The sum of exponentials, or NaN where it is not positive and finite, since the row holds NaN or infinity, or -infinity alone. The
// test is of the bits because drivers differ on e^NaN and compilers may assume that there is no NaN.
fn checked(sum: f32) -> f32 {
  return select(bitcast<f32>(params.nan), sum, bitcast<u32>(sum) - 1u < 0x7f7fffffu);
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
  let n = params.classes / ROW_VEC;
  let start = own.x / ROW_VEC + row * n;
  let end = start + n;

  var lanesMax = logits[start];
  for (var i = start; i < end; i += UNROLL) {
    lanesMax = max(lanesMax, logits[i]);
    if (UNROLL == 2u) { lanesMax = max(lanesMax, logits[i + 1u]); }
  }
  let m = vec4<f32>(lanesMax);
  let largest = max(max(m.x, m.y), max(m.z, m.w));
  var lanesSum = Element(0.0);
  var levels: Levels;
  var lanesRest = Element(0.0); // the sum of logit - largest
  var restLevels: Levels;
  var i = start;
  loop {
    let stop = select(end, min(i + BLOCK, end), LONG);
    for (; i < stop; i += UNROLL) {
      var part = exp(logits[i] - largest);
      if (UNROLL == 2u) { part += exp(logits[i + 1u] - largest); }
      lanesSum += part;
      if (SMOOTH) {
        var below = logits[i] - largest;
        if (UNROLL == 2u) { below += logits[i + 1u] - largest; }
        lanesRest += below;
      }
    }
    if (!LONG) { break; }
    if (LEVELS) {
      carry(&levels, &lanesSum);
    } else {
      levels.a += lanesSum;
      lanesSum = Sum();
    }
    if (SMOOTH) { carry(&restLevels, &lanesRest); }
    if (i >= end) { break; }
  }
  if (LONG) { lanesSum = sumOf(levels, lanesSum); }
  if (SMOOTH && LONG) { lanesRest = sumOf(restLevels, lanesRest); }
  let s = vec4<f32>(lanesSum);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  let sum = checked(((s.x + s.y) + (s.z + s.w)) * (f32(ROW_VEC) * 0.25));
  var rest = 0.0;
  if (SMOOTH) {
    let r = vec4<f32>(lanesRest);
    rest = ((r.x + r.y) + (r.z + r.w)) * (f32(ROW_VEC) * 0.25);
  }

  // A negative label becomes a large number, which is no class.
  let label = u32(labels[own.y + row % params.labelRows]);
  if (IGNORE && label == u32(params.ignored)) {
    losses[own.z + row] = 0.0;
  } else if (label < params.classes) {
    let logit = vec4<f32>(logits[start + label / ROW_VEC])[label % ROW_VEC];
    // The logarithm of NaN is not NaN on every driver.
    var loss = largest - logit + log(sum);
    if (SMOOTH) { loss = loss * (1.0 - params.smoothing) + params.smoothing * (log(sum) - rest / f32(params.classes)); }
    losses[own.z + row] = select(sum, loss, sum > 0.0);
  } else {
    losses[own.z + row] = bitcast<f32>(params.nan);
  }
  var g = select(bitcast<f32>(params.nan), params.scale, label < params.classes);
  if (IGNORE && label == u32(params.ignored)) { g = 0.0; }
  // The class of the label and the others take these parts from the gradient.
  var taken = g;
  var others = 0.0;
  if (SMOOTH) {
    others = g * params.smoothing / f32(params.classes);
    taken = g * (1.0 - params.smoothing) + others;
  }
  let share = g / sum;
  let result = own.w / ROW_VEC + row * n;
  for (var j = 0u; j < n; j += UNROLL) {
    let place = i32(label) - i32(j * ROW_VEC);
    let onehot = select(Element(others), Element(taken), LANES == Element(f32(place)));
    dlogits[result + j] = exp(logits[start + j] - largest) * share - onehot;
    if (UNROLL == 2u) {
      let nextOnehot = select(Element(others), Element(taken), LANES == Element(f32(place - i32(ROW_VEC))));
      dlogits[result + j + 1u] = exp(logits[start + j + 1u] - largest) * share - nextOnehot;
    }
  }
}
