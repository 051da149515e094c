// The cross-entropy of each row of logits with its label, and its gradient, with a workgroup for each row and tree reductions in workgroup
// memory: dlogits = (softmax(logits) - onehot(label)) * scale. The loss is (max - logit of the label) + log(sum), because logsumexp loses its
// digits where logits are large.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 256u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The place of each component in its Element: 0, 1, 2, 3 in a vec4.
const LANES: Element = Element(0.0);
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
  let row = wid.y * groups.x + wid.x;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let n = params.classes / ROW_VEC;
  let start = own.x / ROW_VEC + row * n;

  // A thread past the end takes the last Element, which changes no maximum.
  var threadMax = logits[start + min(local, n - 1u)];
  for (var j = local; j < n; j += WORKGROUP) { threadMax = max(threadMax, logits[start + j]); }
  let largest = maxByTree(threadMax, local);
  var threadSum = Element(0.0);
  var levels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    threadSum += exp(logits[start + j] - largest);
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&levels, &threadSum); }
  }
  if (LONG) { threadSum = sumOf(levels, threadSum); }
  let sum = checked(sumByTree(threadSum, local));
  var rest = 0.0; // the sum of logit - largest
  if (SMOOTH) {
    var threadRest = Element(0.0);
    var restLevels: Levels;
    for (var j = local; j < n; j += WORKGROUP) {
      threadRest += logits[start + j] - largest;
      if (LONG && j / WORKGROUP % 8u == 7u) { carry(&restLevels, &threadRest); }
    }
    if (LONG) { threadRest = sumOf(restLevels, threadRest); }
    workgroupBarrier();
    rest = sumByTree(threadRest, local);
  }

  // A negative label becomes a large number, which is no class.
  let label = u32(labels[own.y + row % params.labelRows]);
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
  for (var j = local; j < n; j += WORKGROUP) {
    let onehot = select(Element(others), Element(taken), LANES == Element(f32(i32(label) - i32(j * ROW_VEC))));
    dlogits[result + j] = exp(logits[start + j] - largest) * share - onehot;
  }

  if (local != 0u) { return; }
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
}
