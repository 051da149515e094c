// Attention (2205.14135, with the online softmax of 1805.02867) without workgroup memory or subgroups. A thread takes a
// query row, with rows of all heads side by side, and 4 keys a step.

// The element type in memory. Sums are f32.
alias Scalar = f32;
alias Sum = f32;
alias Bits = u32;
const WORKGROUP: u32 = 64u;
// The most elements of a head's row.
const WIDTH: u32 = 64u;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 64u;
const LONG_WIDTH: u32 = select(1u, WIDTH, LONG);
// How far, in powers of two, a row's highest score may rise before its LONG sums are scaled anew. Without scaling they are exact.
const SLACK: f32 = 8.0;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
// Whether query i of a head sees keys 0 to i alone.
const CAUSAL: bool = false;
// The kind of mask: 0 none, 1 numbers that are added to scores, where -infinity hides, 2 integers, where 0 hides.
const MASK: u32 = 0u;
const HIDES: bool = CAUSAL || MASK != 0u;
// Whether probabilities are dropped.
const DROPOUT: bool = false;
// Whether a head has the queries of several, params.period each, which share its keys.
const GROUPED: bool = false;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, // of the mask, from key to key
  period: u32,
  threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read_write> out: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

// The position of a query in its own head.
fn positionOf(query: u32) -> u32 {
  if (GROUPED) { return query % params.period; }
  return query;
}

// The index of what the mask holds for a query and key 0.
fn maskStart(b: u32, h: u32, query: u32) -> u32 {
  let start = params.mask.x + b * params.mask.y;
  if (!GROUPED) { return start + h * params.mask.z + query * params.mask.w; }
  let head = h * (params.queries / params.period) + query / params.period;
  return start + head * params.mask.z + query % params.period * params.mask.w;
}

// Scores of a query with four keys, in base 2, and which of them count.
struct FourScores { score: vec4<f32>, seen: vec4<bool> }

// Applies the mask, whose elements for the query and the keys lie at `at`. A score that is hidden counts as the lowest.
fn maskedFour(score: vec4<f32>, inside: vec4<bool>, at: vec4<u32>) -> FourScores {
  if (MASK == 0u) { return FourScores(select(vec4(LOWEST), score, inside), inside); }
  let words = vec4(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
  if (MASK == 2u) {
    let seen = inside & (words != vec4<u32>());
    return FourScores(select(vec4(LOWEST), score, seen), seen);
  }
  let added = bitcast<vec4<f32>>(words) * LOG2E;
  let seen = inside & (bitcast<vec4<u32>>(added) != vec4(0xff800000u));
  return FourScores(select(vec4(LOWEST), score + added, seen), seen);
}

// The upper 32 bits of the products m * c. They are computed from 16-bit halves, because WGSL has no instruction for them.
fn mulHigh(m: vec2<u32>, c: vec2<u32>) -> vec2<u32> {
  let mLow = m & vec2(0xffffu);
  let mHigh = m >> vec2(16u);
  let cLow = c & vec2(0xffffu);
  let cHigh = c >> vec2(16u);
  let cross = mHigh * cLow + ((mLow * cLow) >> vec2(16u));
  let middle = mLow * cHigh + (cross & vec2(0xffffu));
  return mHigh * cHigh + (cross >> vec2(16u)) + (middle >> vec2(16u));
}

// Ten rounds of Philox4x32 (Salmon et al., SC 2011), with the same words as philox.ts.
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
  let m = vec2(0xd2511f53u, 0xcd9e8d57u);
  var even = counter.xz;
  var odd = counter.yw;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let high = mulHigh(m, even);
    let low = m * even;
    even = high.yx ^ odd ^ key;
    odd = low.yx;
    key += vec2(0x9e3779b9u, 0xbb67ae85u);
  }
  return vec4(even.x, odd.x, even.y, odd.y);
}

// The factors of the probabilities of query `row` of [B, H, Tq] and keys 4 n to 4 n + 3: 0 where they are dropped.
fn kept(row: u32, n: u32, stream: u32) -> vec4<f32> {
  let words = philox(vec4(n, row, stream, params.streamHigh), vec2(params.seedLow, params.seedHigh));
  return select(vec4<f32>(), vec4(params.keepScale), words >= vec4(params.threshold));
}

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn orNaN(value: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(bitcast<f32>(nan), value, bitcast<u32>(sum) - 1u < 0x7f7fffffu);
}

// A sum of many partial sums, and what rounding has added to it (Kahan 1965, doi:10.1145/363707.363723).
struct Compensated { sum: Sum, excess: Sum }

// The value itself, but compilers, which simplify a difference of sums, cannot know that: `zero` is 0 only at run time.
fn opaque(value: Sum, zero: u32) -> Sum {
  return bitcast<Sum>(bitcast<Bits>(value) ^ Bits(zero));
}

fn fold(total: Compensated, part: Sum, zero: u32) -> Compensated {
  let term = part - total.excess;
  let sum = total.sum + term;
  return Compensated(sum, opaque(opaque(sum, zero) - total.sum, zero) - term);
}

fn rescaled(total: Compensated, factor: Sum) -> Compensated {
  return Compensated(total.sum * factor, total.excess * factor);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local; // of [B, H, Tq]
  if (row >= params.batch * params.heads * params.queries) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let stream = params.streamLow + wid.z * params.streamStep;
  let head = row / params.queries;
  let b = head / params.heads;
  let h = head % params.heads;
  let t = row % params.queries;
  let qRow = own.x + params.q.x + b * params.q.y + h * params.q.z + t * params.q.w;
  let outRow = own.w + params.out.x + b * params.out.y + h * params.out.z + t * params.out.w;
  let kStep = params.k.w;
  let vStep = params.v.w;
  var kRow = own.y + params.k.x + b * params.k.y + h * params.k.z;
  var vRow = own.z + params.v.x + b * params.v.y + h * params.v.z;

  var x: array<f32, WIDTH>; // the query, scaled
  var acc: array<f32, WIDTH>;
  for (var d = 0u; d < params.width; d++) { x[d] = f32(q[qRow + d]) * (params.scale * LOG2E); }
  var infinity = 0x7f800000u; // A variable, because a constant expression may not be infinite.
  var top = LOWEST;
  var total = 0.0;
  var longAcc: array<Compensated, LONG_WIDTH>;
  var longTop = top; // what the long sums are relative to
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var keys = params.keys;
  if (CAUSAL) { keys = min(keys, positionOf(t) + 1u); }
  var maskRow = 0u;
  if (MASK != 0u) { maskRow = rest.y + maskStart(b, h, t); }
  var anySeen = MASK == 0u; // whether the query sees a key
  for (var j = 0u; j < keys; j += 4u) {
    let last = keys - 1u - j;
    let t1 = min(1u, last);
    let t2 = min(2u, last);
    let t3 = min(3u, last);
    var s = vec4<f32>();
    for (var d = 0u; d < params.width; d++) {
      let w = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      s += x[d] * vec4<f32>(w);
    }
    var seen = vec4(0u, 1u, 2u, 3u) <= vec4(last);
    if (MASK != 0u) {
      let four = maskedFour(s, seen, maskRow + (j + vec4(0u, t1, t2, t3)) * params.maskStep);
      s = four.score;
      seen = four.seen;
      anySeen = anySeen || any(seen);
    }
    // Past the end the last key is repeated, which changes no maximum.
    var highest = max(top, max(max(s.x, s.y), max(s.z, s.w)));
    if (LONG) { highest = select(top, highest, highest > top + SLACK); }
    var factor = exp2(top - highest);
    if (LONG && highest == top) { factor = 1.0; } // exp2(0.0) is not exactly 1 on every driver.
    top = highest;
    s = select(vec4<f32>(), exp2(s - top), seen);
    total = total * factor + ((s.x + s.y) + (s.z + s.w));
    if (DROPOUT) { s *= kept(row, j / 4u, stream); }
    for (var d = 0u; d < params.width; d++) {
      var w = vec4(v[vRow + d], v[vRow + t1 * vStep + d], v[vRow + t2 * vStep + d], v[vRow + t3 * vStep + d]);
      if (MASK != 0u) { w = select(vec4<Scalar>(), w, seen); } // A weight of 0 would make NaN of a NaN that is hidden.
      acc[d] = acc[d] * factor + dot(s, vec4<f32>(w));
    }
    kRow += 4u * kStep;
    vRow += 4u * vStep;
    if (LONG && ((j + 4u) % FOLD == 0u || last < 4u)) {
      let longFactor = select(exp2(longTop - top), 1.0, longTop == top); // exp2(0.0) is not exactly 1 on every driver.
      longTop = top;
      for (var d = 0u; d < params.width; d++) {
        longAcc[d] = fold(rescaled(longAcc[d], longFactor), acc[d], zero);
        acc[d] = 0.0;
      }
      longTotal = fold(rescaled(longTotal, longFactor), total, zero);
      total = 0.0;
    }
  }
  if (LONG) {
    for (var d = 0u; d < params.width; d++) { acc[d] = longAcc[d].sum - longAcc[d].excess; }
    total = longTotal.sum - longTotal.excess;
  }

  var inverse = orNaN(1.0 / total, total);
  var logSum = orNaN((top + log2(total)) * LN2, total);
  if (!anySeen) {
    inverse = 0.0;
    logSum = bitcast<f32>(infinity); // so that backward finds no probabilities
  }
  for (var d = 0u; d < params.width; d++) { out[outRow + d] = Scalar(acc[d] * inverse); }
  lse[rest.x + row] = logSum;
}
