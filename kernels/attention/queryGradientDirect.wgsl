// The gradient of the queries (2205.14135) without workgroup memory or subgroups. A thread takes a query row and 4 keys a step.
// It also writes delta, the row sums of dOut * out, which the gradient of keys and values needs.

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
// Whether query i of a head sees keys 0 to i alone.
const CAUSAL: bool = false;
// The kind of mask: 0 none, 1 numbers that are added to scores, where -infinity hides, 2 integers, where 0 hides.
const MASK: u32 = 0u;
const HIDES: bool = CAUSAL || MASK != 0u;
// Whether probabilities are dropped.
const DROPOUT: bool = false;
// Whether a head has the queries of several, params.period each, which share its keys.
const GROUPED: bool = false;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, dOut: vec4<u32>, dq: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, // of the mask, from key to key
  period: u32,
  threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> out: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> dOut: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(5) var<storage, read_write> dq: array<Scalar>; // [B, H, Tq, Dh] in any strides
// [2, B * H * Tq rounded up to 64]: the log-sum-exps, which are read, and delta
@group(0) @binding(6) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(7) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
}

fn rowStart(view: vec4<u32>, b: u32, h: u32, t: u32) -> u32 {
  return view.x + b * view.y + h * view.z + t * view.w;
}

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
  let qRow = own.x + rowStart(params.q, b, h, t);
  let dOutRow = rest.x + rowStart(params.dOut, b, h, t);
  let dqRow = rest.y + rowStart(params.dq, b, h, t);
  let kStep = params.k.w;
  let vStep = params.v.w;
  var kRow = own.y + rowStart(params.k, b, h, 0u);
  var vRow = own.z + rowStart(params.v, b, h, 0u);

  var sum = 0.0;
  let outRow = own.w + rowStart(params.out, b, h, t);
  var x: array<f32, WIDTH>; // the query, scaled
  var g: array<f32, WIDTH>; // dOut
  var acc: array<f32, WIDTH>;
  for (var d = 0u; d < params.width; d++) {
    x[d] = f32(q[qRow + d]) * (params.scale * LOG2E);
    g[d] = f32(dOut[dOutRow + d]);
    sum += g[d] * f32(out[outRow + d]);
  }
  statistics[rest.z + deltaStart() + row] = sum;

  let logSum = statistics[rest.z + row] * LOG2E;
  var longAcc: array<Compensated, LONG_WIDTH>;
  var total = 0.0; // of the probabilities: 1, but for the rounding of logSum
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var keys = params.keys;
  if (CAUSAL) { keys = min(keys, positionOf(t) + 1u); }
  var maskRow = 0u;
  if (MASK != 0u) { maskRow = rest.w + maskStart(b, h, t); }
  for (var j = 0u; j < keys; j += 4u) {
    let last = keys - 1u - j;
    let t1 = min(1u, last);
    let t2 = min(2u, last);
    let t3 = min(3u, last);
    var s = vec4<f32>();
    var p = vec4<f32>();
    for (var d = 0u; d < params.width; d++) {
      let key = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      let value = vec4(v[vRow + d], v[vRow + t1 * vStep + d], v[vRow + t2 * vStep + d], v[vRow + t3 * vStep + d]);
      s += x[d] * vec4<f32>(key);
      p += g[d] * vec4<f32>(value);
    }
    var inside = vec4(0u, 1u, 2u, 3u) <= vec4(last);
    if (MASK != 0u) {
      let four = maskedFour(s, inside, maskRow + (j + vec4(0u, t1, t2, t3)) * params.maskStep);
      s = four.score;
      inside = four.seen;
    }
    if (DROPOUT) { p *= kept(row, j / 4u, stream); }
    let share = exp2(s - logSum);
    s = share * (p - sum);
    s = select(vec4<f32>(), s, inside);
    if (LONG) { total += dot(select(vec4<f32>(), share, inside), vec4(1.0)); }
    for (var d = 0u; d < params.width; d++) {
      var key = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      if (MASK != 0u) { key = select(vec4<Scalar>(), key, inside); } // 0 times a NaN that is hidden would be NaN.
      acc[d] += dot(s, vec4<f32>(key));
    }
    kRow += 4u * kStep;
    vRow += 4u * vStep;
    if (LONG && ((j + 4u) % FOLD == 0u || last < 4u)) {
      for (var d = 0u; d < params.width; d++) {
        longAcc[d] = fold(longAcc[d], acc[d], zero);
        acc[d] = 0.0;
      }
      longTotal = fold(longTotal, total, zero);
      total = 0.0;
    }
  }
  if (LONG) {
    total = longTotal.sum - longTotal.excess;
    if (MASK != 0u && total == 0.0) { total = 1.0; } // where a query sees nothing
    for (var d = 0u; d < params.width; d++) { acc[d] = (longAcc[d].sum - longAcc[d].excess) / total; }
  }
  for (var d = 0u; d < params.width; d++) { dq[dqRow + d] = Scalar(acc[d] * params.scale); }
}
