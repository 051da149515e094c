// The gradients of keys and values (2205.14135) for software devices, with the layout of the forward kernel (subgroup.wgsl), except
// that a lane owns key rows and queries are handed round. Both gradients go to one buffer, each at its own offset and strides.
enable subgroups;

// The element type in memory. Sums are f32.
alias Scalar = f32;
// A number for each key row of a lane.
alias Rows = vec4<f32>;
alias Sum = Rows;
alias Bits = vec4<u32>;
const ROWS: u32 = 4u;
const THIRD: u32 = min(2u, ROWS - 1u);
const FOURTH: u32 = ROWS - 1u;
// The workgroup size, which is the largest subgroup size.
const LANES: u32 = 4u;
// Whether subgroups may have only 4 lanes. Otherwise they have at least 8.
const NARROW: bool = true;
// The most elements of a head's row, a multiple of 4.
const WIDTH: u32 = 64u;
// Whether the width is not a multiple of 4. What lies past a row must not get into the products.
const PADDED: bool = true;
const LAST_LANE: u32 = select(7u, 3u, NARROW);
// The lane that holds the fifth of eight values. Subgroups of 4 lanes hold it in lane 0, by a second load.
const HIGH: u32 = select(4u, 0u, NARROW);
// The queries of a step, 16 or 8. A step of 16 skips its second half where at most 8 queries are left, but not where subgroups may
// have 4 lanes (SwiftShader): there branches in the loops cost more than 8 queries that count as nothing.
const STEP: u32 = 16u;
// Whether there are so many queries that one chain of additions loses digits. Then sums over FOLD queries are compensated.
const LONG: bool = false;
const FOLD: u32 = 512u;
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
  k: vec4<u32>, v: vec4<u32>, dOut: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, // of the mask, from key to key
  period: u32,
  threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> dOut: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<Scalar>; // dk and dv, [B, H, Tk, Dh] in any strides
@group(0) @binding(7) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

struct Pair { first: vec4<f32>, second: vec4<f32> }
struct Slice { x0: Rows, x1: Rows, x2: Rows, x3: Rows }

// A lane's number, then those of the lanes ^ 1, ^ 2 and ^ 3 of its quad.
fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// Elements d ^ 0 … d ^ 3 of two rows of Q, where d is this lane's own.
fn queryPair(first: u32, second: u32, d: u32) -> Pair {
  var own = f32(q[first + d]);
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = f32(q[second + d]);
    if (PADDED) { other = select(0.0, other, d < params.width); }
  } else {
    other = subgroupShuffleXor(own, 4u);
  }
  return Pair(share(own), share(other));
}

fn gradientPair(first: u32, second: u32, d: u32) -> Pair {
  var own = f32(dOut[first + d]);
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = f32(dOut[second + d]);
    if (PADDED) { other = select(0.0, other, d < params.width); }
  } else {
    other = subgroupShuffleXor(own, 4u);
  }
  return Pair(share(own), share(other));
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

// The lowest position of `count` queries from `first` on.
fn leastPosition(first: u32, count: u32) -> u32 {
  let position = positionOf(first);
  return select(position, 0u, GROUPED && position + count > params.period);
}

// Numbers of a lane's own rows, of which there may be fewer than four.
fn ownOf(all: vec4<u32>) -> Bits {
  var own: Bits;
  own[0] = all.x;
  own[1] = all.y;
  if (ROWS > 2u) { own[THIRD] = all.z; }
  if (ROWS > 3u) { own[FOURTH] = all.w; }
  return own;
}

// The factors of the probabilities of query `row` of [B, H, Tq] and a lane's keys.
fn keptKeys(row: u32, key: Bits, stream: u32) -> Rows {
  var factors: Rows;
  for (var i = 0u; i < ROWS; i++) { factors[i] = kept(row, key[i] / 4u, stream)[key[i] % 4u]; }
  return factors;
}

// A lane's numbers times the factors of dropout, if there is any.
fn dropped(value: Rows, factor: Rows) -> Rows {
  if (!DROPOUT) { return value; }
  return value * factor;
}

// 1 for each of a lane's keys that a causal mask lets a query see, if the query is inside.
fn seenBy(query: u32, key: Bits, inside: bool) -> Bits {
  let one = select(Bits(), Bits(1u), inside);
  if (!CAUSAL) { return one; }
  return select(Bits(), one, key <= Bits(positionOf(query)));
}

// Whether none of `count` queries from `query` on sees the key `first` or a later one.
fn skipsQueries(query: u32, count: u32, first: u32) -> bool {
  if (!CAUSAL) { return false; }
  let period = select(params.queries, params.period, GROUPED);
  return min(positionOf(query) + count, period) <= first;
}

// Applies the mask, whose elements for a lane's rows lie at `at`, to scores of the rows that `seen` has 1 for. Returns 1 for those that
// it leaves; the scores of the others become the lowest.
fn masked(score: ptr<function, Rows>, seen: Bits, at: Bits) -> Bits {
  var left = seen;
  if (MASK != 0u) {
    var words: Bits;
    words[0] = mask[at[0]];
    words[1] = mask[at[1]];
    if (ROWS > 2u) { words[THIRD] = mask[at[THIRD]]; }
    if (ROWS > 3u) { words[FOURTH] = mask[at[FOURTH]]; }
    if (MASK == 1u) {
      let added = bitcast<Rows>(words) * LOG2E;
      *score += added;
      words = bitcast<Bits>(added) ^ Bits(0xff800000u);
    }
    left = select(Bits(), left, words != Bits());
  }
  *score = select(Rows(LOWEST), *score, left != Bits());
  return left;
}

// Applies the masks to a lane's scores with row i of a step's queries, which begin at `first`. Returns 1 for each that counts.
fn maskedQuery(score: ptr<function, Rows>, first: u32, i: u32, last: u32, key: Bits, start: u32, b: u32, h: u32) -> Bits {
  let query = first + min(i, last);
  var at = Bits();
  if (MASK != 0u) { at = start + maskStart(b, h, query) + key * params.maskStep; }
  return masked(score, seenBy(query, key, i <= last), at);
}

// The probabilities of a query with the log-sum-exp `logSum`, NaN where that is NaN. Where bit i of `seen` is 0 they are -0, which marks
// them as hidden.
fn probability(score: Rows, logSum: f32, seen: Bits, i: u32) -> Rows {
  let exponential = exp2(score - logSum);
  if (!HIDES) { return exponential; }
  let isNaN = (bitcast<u32>(logSum) & 0x7fffffffu) > 0x7f800000u;
  let shown = select(exponential, Rows(logSum), isNaN); // 2^NaN is not NaN on every driver.
  var hidden = Bits(0x80000000u); // A variable, because compilers take a constant -0 for 0.
  return select(bitcast<Rows>(hidden), shown, (seen & Bits(1u << i)) != Bits());
}

// A weight times a value, and 0 where the weight is -0, since a value that is hidden may be NaN.
fn counted(weight: Rows, value: f32) -> Rows {
  return select(weight * value, Rows(), bitcast<Bits>(weight) == Bits(0x80000000u));
}

// The gradients of scores, of probabilities and their own gradients. Hidden ones stay -0, and no other is.
fn scoreGradient(share: Rows, gradient: Rows) -> Rows {
  let product = share * gradient;
  if (!HIDES) { return product; }
  let unmarked = select(product, Rows(), product == Rows());
  return select(unmarked, share, bitcast<Bits>(share) == Bits(0x80000000u));
}

fn product(x: Slice, w: vec4<f32>) -> Rows {
  return (x.x0 * w.x + x.x1 * w.y) + (x.x2 * w.z + x.x3 * w.w);
}

fn pairSum(s: Rows, t: Rows, w: Pair) -> Slice {
  return Slice(
    s * w.first.x + t * w.second.x, s * w.first.y + t * w.second.y,
    s * w.first.z + t * w.second.z, s * w.first.w + t * w.second.w,
  );
}

fn add(x: Slice, s: Rows, t: Rows, w: Pair) -> Slice {
  return Slice(
    x.x0 + (s * w.first.x + t * w.second.x), x.x1 + (s * w.first.y + t * w.second.y),
    x.x2 + (s * w.first.z + t * w.second.z), x.x3 + (s * w.first.w + t * w.second.w),
  );
}

fn pairSumShown(s: Rows, t: Rows, w: Pair) -> Slice {
  return Slice(
    counted(s, w.first.x) + counted(t, w.second.x), counted(s, w.first.y) + counted(t, w.second.y),
    counted(s, w.first.z) + counted(t, w.second.z), counted(s, w.first.w) + counted(t, w.second.w),
  );
}

fn addShown(x: Slice, s: Rows, t: Rows, w: Pair) -> Slice {
  return Slice(
    x.x0 + (counted(s, w.first.x) + counted(t, w.second.x)), x.x1 + (counted(s, w.first.y) + counted(t, w.second.y)),
    x.x2 + (counted(s, w.first.z) + counted(t, w.second.z)), x.x3 + (counted(s, w.first.w) + counted(t, w.second.w)),
  );
}

// The index of the first element of each of four rows of a head.
fn rowStarts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn keyRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(k[at.x + d]);
  element[1] = f32(k[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(k[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(k[at.w + d]); }
  return element;
}

fn valueRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(v[at.x + d]);
  element[1] = f32(v[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(v[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(v[at.w + d]); }
  return element;
}

// Stores element d of a lane's rows, but for those past the last row.
fn storeDkv(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (row.x < params.keys) { dkv[at.x + d] = Scalar(value[0]); }
  if (row.y < params.keys) { dkv[at.y + d] = Scalar(value[1]); }
  if (ROWS > 2u && row.z < params.keys) { dkv[at.z + d] = Scalar(value[THIRD]); }
  if (ROWS > 3u && row.w < params.keys) { dkv[at.w + d] = Scalar(value[FOURTH]); }
}

// lse in base 2 and delta of a query `query` past the first. Where there is none, lse is infinite, so its probability is 0.
fn sums(first: vec2<u32>, query: u32, last: u32) -> vec2<f32> {
  var infinity = 0x7f800000u; // A variable, because a constant expression may not be infinite.
  let at = first + min(query, last);
  return vec2(select(bitcast<f32>(infinity), lse[at.x] * LOG2E, query <= last), delta[at.y]);
}

// The values of the first 4 lanes.
fn spreadLow(own: f32) -> vec4<f32> {
  let a = subgroupBroadcast(own, 0u);
  let b = subgroupBroadcast(own, 1u);
  let c = subgroupBroadcast(own, 2u);
  let d = subgroupBroadcast(own, 3u);
  return vec4(a, b, c, d);
}

// The values of the lanes that hold the last 4 of 8 rows.
fn spreadHigh(own: f32) -> vec4<f32> {
  let a = subgroupBroadcast(own, HIGH);
  let b = subgroupBroadcast(own, HIGH + 1u);
  let c = subgroupBroadcast(own, HIGH + 2u);
  let d = subgroupBroadcast(own, HIGH + 3u);
  return vec4(a, b, c, d);
}

// Four numbers in the order in which this lane gets the two rows of each pair.
fn seen(v: vec4<f32>, flip: u32) -> vec4<f32> {
  return select(v, v.yxwz, flip == 1u);
}

// NaN where the largest of the bits of log-sum-exps, without their signs, is that of a NaN, else 0. All probabilities of that query
// are NaN then, but 2^NaN is not NaN on every driver.
fn spoiled(bits: vec4<u32>) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(0.0, bitcast<f32>(nan), any(bits > vec4(0x7f800000u)));
}

fn sizeBits(v: vec4<f32>) -> vec4<u32> {
  return bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
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

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.keys + LANES * ROWS - 1u) / (LANES * ROWS);
  if (group >= blocks * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let row = group % blocks * LANES * ROWS + local + LANES * vec4(0u, 1u, 2u, 3u); // of which the first ROWS count
  let e = lane & 3u;
  var flip = (lane >> 2u) & 1u;
  if (NARROW) { flip = 0u; }

  var x: array<Rows, WIDTH>; // [width]: the keys, scaled, and 0 past the width
  var y: array<Rows, WIDTH>; // [width]: the values, and 0 past the width
  var dk: array<Rows, WIDTH>;
  var dv: array<Rows, WIDTH>;
  var longDk: array<Compensated, LONG_WIDTH>;
  var longDv: array<Compensated, LONG_WIDTH>;
  let zero = params.width >> 31u; // 0, which compilers do not know
  let clamped = min(row, vec4(params.keys - 1u));
  let k0 = own.y + rowStarts(params.k, b, h, clamped);
  let v0 = own.z + rowStarts(params.v, b, h, clamped);
  for (var d = 0u; d < params.width; d++) {
    x[d] = keyRows(k0, d) * (params.scale * LOG2E);
    y[d] = valueRows(v0, d);
  }

  let key = ownOf(clamped);
  let firstKey = group % blocks * LANES * ROWS;
  let stream = params.streamLow + wid.z * params.streamStep;
  let qStep = params.q.w;
  let gStep = params.dOut.w;
  var qRow = own.x + params.q.x + b * params.q.y + h * params.q.z;
  var gRow = own.w + params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  let sumsRow = rest.xy + head * params.queries;
  var bits = vec4<u32>();
  for (var j = 0u; j < params.queries; j += STEP) {
    if (skipsQueries(j, STEP, firstKey)) {
      qRow += STEP * qStep;
      gRow += STEP * gStep;
      continue;
    }
    let left = params.queries - j;
    let more = STEP > 8u && (NARROW || left > 8u);
    let last = left - 1u;
    let t0 = min(0u + flip, last); let t1 = min(1u, last);
    let t2 = min(2u + flip, last); let t3 = min(3u, last);
    let t4 = min(4u + flip, last); let t5 = min(5u, last);
    let t6 = min(6u + flip, last); let t7 = min(7u, last);
    let t8 = min(8u + flip, last); let t9 = min(9u, last);
    let t10 = min(10u + flip, last); let t11 = min(11u, last);
    let t12 = min(12u + flip, last); let t13 = min(13u, last);
    let t14 = min(14u + flip, last); let t15 = min(15u, last);
    let q0 = qRow + t0 * qStep; let q1 = qRow + t1 * qStep;
    let q2 = qRow + t2 * qStep; let q3 = qRow + t3 * qStep;
    let q4 = qRow + t4 * qStep; let q5 = qRow + t5 * qStep;
    let q6 = qRow + t6 * qStep; let q7 = qRow + t7 * qStep;
    let q8 = qRow + t8 * qStep; let q9 = qRow + t9 * qStep;
    let q10 = qRow + t10 * qStep; let q11 = qRow + t11 * qStep;
    let q12 = qRow + t12 * qStep; let q13 = qRow + t13 * qStep;
    let q14 = qRow + t14 * qStep; let q15 = qRow + t15 * qStep;
    let g0 = gRow + t0 * gStep; let g1 = gRow + t1 * gStep;
    let g2 = gRow + t2 * gStep; let g3 = gRow + t3 * gStep;
    let g4 = gRow + t4 * gStep; let g5 = gRow + t5 * gStep;
    let g6 = gRow + t6 * gStep; let g7 = gRow + t7 * gStep;
    let g8 = gRow + t8 * gStep; let g9 = gRow + t9 * gStep;
    let g10 = gRow + t10 * gStep; let g11 = gRow + t11 * gStep;
    let g12 = gRow + t12 * gStep; let g13 = gRow + t13 * gStep;
    let g14 = gRow + t14 * gStep; let g15 = gRow + t15 * gStep;
    var s0 = Rows(); var s1 = Rows(); var s2 = Rows(); var s3 = Rows();
    var s4 = Rows(); var s5 = Rows(); var s6 = Rows(); var s7 = Rows();
    var s8 = Rows(); var s9 = Rows(); var s10 = Rows(); var s11 = Rows();
    var s12 = Rows(); var s13 = Rows(); var s14 = Rows(); var s15 = Rows();
    var p0 = Rows(); var p1 = Rows(); var p2 = Rows(); var p3 = Rows();
    var p4 = Rows(); var p5 = Rows(); var p6 = Rows(); var p7 = Rows();
    var p8 = Rows(); var p9 = Rows(); var p10 = Rows(); var p11 = Rows();
    var p12 = Rows(); var p13 = Rows(); var p14 = Rows(); var p15 = Rows();
    for (var c = 0u; c < params.width; c += 4u) {
      let d = c + e;
      let a = Slice(x[d], x[d ^ 1u], x[d ^ 2u], x[d ^ 3u]);
      let o = Slice(y[d], y[d ^ 1u], y[d ^ 2u], y[d ^ 3u]);
      let w0 = queryPair(q0, q1, d); s0 += product(a, w0.first); s1 += product(a, w0.second);
      let w1 = queryPair(q2, q3, d); s2 += product(a, w1.first); s3 += product(a, w1.second);
      let w2 = queryPair(q4, q5, d); s4 += product(a, w2.first); s5 += product(a, w2.second);
      let w3 = queryPair(q6, q7, d); s6 += product(a, w3.first); s7 += product(a, w3.second);
      let u0 = gradientPair(g0, g1, d); p0 += product(o, u0.first); p1 += product(o, u0.second);
      let u1 = gradientPair(g2, g3, d); p2 += product(o, u1.first); p3 += product(o, u1.second);
      let u2 = gradientPair(g4, g5, d); p4 += product(o, u2.first); p5 += product(o, u2.second);
      let u3 = gradientPair(g6, g7, d); p6 += product(o, u3.first); p7 += product(o, u3.second);
      if (more) {
        let w4 = queryPair(q8, q9, d); s8 += product(a, w4.first); s9 += product(a, w4.second);
        let w5 = queryPair(q10, q11, d); s10 += product(a, w5.first); s11 += product(a, w5.second);
        let w6 = queryPair(q12, q13, d); s12 += product(a, w6.first); s13 += product(a, w6.second);
        let w7 = queryPair(q14, q15, d); s14 += product(a, w7.first); s15 += product(a, w7.second);
        let u4 = gradientPair(g8, g9, d); p8 += product(o, u4.first); p9 += product(o, u4.second);
        let u5 = gradientPair(g10, g11, d); p10 += product(o, u5.first); p11 += product(o, u5.second);
        let u6 = gradientPair(g12, g13, d); p12 += product(o, u6.first); p13 += product(o, u6.second);
        let u7 = gradientPair(g14, g15, d); p14 += product(o, u7.first); p15 += product(o, u7.second);
      }
    }
    // Of other steps every query sees all keys.
    let guarded = MASK != 0u || (CAUSAL && leastPosition(j, STEP) + 1u < firstKey + LANES * ROWS);
    var shown = Bits(0xffffu); // bit i tells of each row whether it counts in score i
    if (guarded) {
      shown = Bits();
      shown |= maskedQuery(&s0, j, 0u ^ flip, last, key, rest.w, b, h) << Bits(0u);
      shown |= maskedQuery(&s1, j, 1u ^ flip, last, key, rest.w, b, h) << Bits(1u);
      shown |= maskedQuery(&s2, j, 2u ^ flip, last, key, rest.w, b, h) << Bits(2u);
      shown |= maskedQuery(&s3, j, 3u ^ flip, last, key, rest.w, b, h) << Bits(3u);
      shown |= maskedQuery(&s4, j, 4u ^ flip, last, key, rest.w, b, h) << Bits(4u);
      shown |= maskedQuery(&s5, j, 5u ^ flip, last, key, rest.w, b, h) << Bits(5u);
      shown |= maskedQuery(&s6, j, 6u ^ flip, last, key, rest.w, b, h) << Bits(6u);
      shown |= maskedQuery(&s7, j, 7u ^ flip, last, key, rest.w, b, h) << Bits(7u);
      if (more) {
        shown |= maskedQuery(&s8, j, 8u ^ flip, last, key, rest.w, b, h) << Bits(8u);
        shown |= maskedQuery(&s9, j, 9u ^ flip, last, key, rest.w, b, h) << Bits(9u);
        shown |= maskedQuery(&s10, j, 10u ^ flip, last, key, rest.w, b, h) << Bits(10u);
        shown |= maskedQuery(&s11, j, 11u ^ flip, last, key, rest.w, b, h) << Bits(11u);
        shown |= maskedQuery(&s12, j, 12u ^ flip, last, key, rest.w, b, h) << Bits(12u);
        shown |= maskedQuery(&s13, j, 13u ^ flip, last, key, rest.w, b, h) << Bits(13u);
        shown |= maskedQuery(&s14, j, 14u ^ flip, last, key, rest.w, b, h) << Bits(14u);
        shown |= maskedQuery(&s15, j, 15u ^ flip, last, key, rest.w, b, h) << Bits(15u);
      }
    }
    var z: array<Rows, 16>; // the factors of dropout
    if (DROPOUT) {
      for (var i = 0u; i < STEP; i++) { z[i] = keptKeys(head * params.queries + j + min(i ^ flip, last), key, stream); }
    }
    // Turns scores into probabilities s, and dOut * v into the gradient p of the scores.
    let low0 = sums(sumsRow + j, 0u + (lane & LAST_LANE), last);
    var high0 = low0;
    if (NARROW) { high0 = sums(sumsRow + j, 4u + lane, last); }
    let lowLse0 = seen(spreadLow(low0.x), flip);
    let lowDelta0 = seen(spreadLow(low0.y), flip);
    let highLse0 = seen(spreadHigh(high0.x), flip);
    let highDelta0 = seen(spreadHigh(high0.y), flip);
    bits = max(bits, max(sizeBits(lowLse0), sizeBits(highLse0)));
    s0 = probability(s0, lowLse0.x, shown, 0u);
    p0 = scoreGradient(s0, dropped(p0, z[0]) - lowDelta0.x); s0 = dropped(s0, z[0]);
    s1 = probability(s1, lowLse0.y, shown, 1u);
    p1 = scoreGradient(s1, dropped(p1, z[1]) - lowDelta0.y); s1 = dropped(s1, z[1]);
    s2 = probability(s2, lowLse0.z, shown, 2u);
    p2 = scoreGradient(s2, dropped(p2, z[2]) - lowDelta0.z); s2 = dropped(s2, z[2]);
    s3 = probability(s3, lowLse0.w, shown, 3u);
    p3 = scoreGradient(s3, dropped(p3, z[3]) - lowDelta0.w); s3 = dropped(s3, z[3]);
    s4 = probability(s4, highLse0.x, shown, 4u);
    p4 = scoreGradient(s4, dropped(p4, z[4]) - highDelta0.x); s4 = dropped(s4, z[4]);
    s5 = probability(s5, highLse0.y, shown, 5u);
    p5 = scoreGradient(s5, dropped(p5, z[5]) - highDelta0.y); s5 = dropped(s5, z[5]);
    s6 = probability(s6, highLse0.z, shown, 6u);
    p6 = scoreGradient(s6, dropped(p6, z[6]) - highDelta0.z); s6 = dropped(s6, z[6]);
    s7 = probability(s7, highLse0.w, shown, 7u);
    p7 = scoreGradient(s7, dropped(p7, z[7]) - highDelta0.w); s7 = dropped(s7, z[7]);
    if (more) {
      let low1 = sums(sumsRow + j, 8u + (lane & LAST_LANE), last);
      var high1 = low1;
      if (NARROW) { high1 = sums(sumsRow + j, 12u + lane, last); }
      let lowLse1 = seen(spreadLow(low1.x), flip);
      let lowDelta1 = seen(spreadLow(low1.y), flip);
      let highLse1 = seen(spreadHigh(high1.x), flip);
      let highDelta1 = seen(spreadHigh(high1.y), flip);
      bits = max(bits, max(sizeBits(lowLse1), sizeBits(highLse1)));
      s8 = probability(s8, lowLse1.x, shown, 8u);
      p8 = scoreGradient(s8, dropped(p8, z[8]) - lowDelta1.x); s8 = dropped(s8, z[8]);
      s9 = probability(s9, lowLse1.y, shown, 9u);
      p9 = scoreGradient(s9, dropped(p9, z[9]) - lowDelta1.y); s9 = dropped(s9, z[9]);
      s10 = probability(s10, lowLse1.z, shown, 10u);
      p10 = scoreGradient(s10, dropped(p10, z[10]) - lowDelta1.z); s10 = dropped(s10, z[10]);
      s11 = probability(s11, lowLse1.w, shown, 11u);
      p11 = scoreGradient(s11, dropped(p11, z[11]) - lowDelta1.w); s11 = dropped(s11, z[11]);
      s12 = probability(s12, highLse1.x, shown, 12u);
      p12 = scoreGradient(s12, dropped(p12, z[12]) - highDelta1.x); s12 = dropped(s12, z[12]);
      s13 = probability(s13, highLse1.y, shown, 13u);
      p13 = scoreGradient(s13, dropped(p13, z[13]) - highDelta1.y); s13 = dropped(s13, z[13]);
      s14 = probability(s14, highLse1.z, shown, 14u);
      p14 = scoreGradient(s14, dropped(p14, z[14]) - highDelta1.z); s14 = dropped(s14, z[14]);
      s15 = probability(s15, highLse1.w, shown, 15u);
      p15 = scoreGradient(s15, dropped(p15, z[15]) - highDelta1.w); s15 = dropped(s15, z[15]);
    }
    if (guarded) {
      for (var c = 0u; c < params.width; c += 4u) {
        let d = c + e;
        var a = pairSumShown(p0, p1, queryPair(q0, q1, d));
        a = addShown(a, p2, p3, queryPair(q2, q3, d));
        a = addShown(a, p4, p5, queryPair(q4, q5, d));
        a = addShown(a, p6, p7, queryPair(q6, q7, d));
        var o = pairSumShown(s0, s1, gradientPair(g0, g1, d));
        o = addShown(o, s2, s3, gradientPair(g2, g3, d));
        o = addShown(o, s4, s5, gradientPair(g4, g5, d));
        o = addShown(o, s6, s7, gradientPair(g6, g7, d));
        if (more) {
          a = addShown(a, p8, p9, queryPair(q8, q9, d));
          a = addShown(a, p10, p11, queryPair(q10, q11, d));
          a = addShown(a, p12, p13, queryPair(q12, q13, d));
          a = addShown(a, p14, p15, queryPair(q14, q15, d));
          o = addShown(o, s8, s9, gradientPair(g8, g9, d));
          o = addShown(o, s10, s11, gradientPair(g10, g11, d));
          o = addShown(o, s12, s13, gradientPair(g12, g13, d));
          o = addShown(o, s14, s15, gradientPair(g14, g15, d));
        }
        dk[d] += a.x0; dk[d ^ 1u] += a.x1; dk[d ^ 2u] += a.x2; dk[d ^ 3u] += a.x3;
        dv[d] += o.x0; dv[d ^ 1u] += o.x1; dv[d ^ 2u] += o.x2; dv[d ^ 3u] += o.x3;
      }
    } else {
      for (var c = 0u; c < params.width; c += 4u) {
        let d = c + e;
        var a = pairSum(p0, p1, queryPair(q0, q1, d));
        a = add(a, p2, p3, queryPair(q2, q3, d));
        a = add(a, p4, p5, queryPair(q4, q5, d));
        a = add(a, p6, p7, queryPair(q6, q7, d));
        var o = pairSum(s0, s1, gradientPair(g0, g1, d));
        o = add(o, s2, s3, gradientPair(g2, g3, d));
        o = add(o, s4, s5, gradientPair(g4, g5, d));
        o = add(o, s6, s7, gradientPair(g6, g7, d));
        if (more) {
          a = add(a, p8, p9, queryPair(q8, q9, d));
          a = add(a, p10, p11, queryPair(q10, q11, d));
          a = add(a, p12, p13, queryPair(q12, q13, d));
          a = add(a, p14, p15, queryPair(q14, q15, d));
          o = add(o, s8, s9, gradientPair(g8, g9, d));
          o = add(o, s10, s11, gradientPair(g10, g11, d));
          o = add(o, s12, s13, gradientPair(g12, g13, d));
          o = add(o, s14, s15, gradientPair(g14, g15, d));
        }
        dk[d] += a.x0; dk[d ^ 1u] += a.x1; dk[d ^ 2u] += a.x2; dk[d ^ 3u] += a.x3;
        dv[d] += o.x0; dv[d ^ 1u] += o.x1; dv[d ^ 2u] += o.x2; dv[d ^ 3u] += o.x3;
      }
    }
    qRow += STEP * qStep;
    gRow += STEP * gStep;
    if (LONG && ((j + STEP) % FOLD == 0u || left <= STEP)) {
      for (var d = 0u; d < params.width; d++) {
        longDk[d] = fold(longDk[d], dk[d], zero);
        longDv[d] = fold(longDv[d], dv[d], zero);
        dk[d] = Rows();
        dv[d] = Rows();
      }
    }
  }
  if (LONG) {
    for (var d = 0u; d < params.width; d++) {
      dk[d] = longDk[d].sum - longDk[d].excess;
      dv[d] = longDv[d].sum - longDv[d].excess;
    }
  }

  let dk0 = rest.z + rowStarts(params.dk, b, h, row);
  let dv0 = rest.z + rowStarts(params.dv, b, h, row);
  var nan = spoiled(bits);
  if (HIDES) { nan = 0.0; } // Of the keys only some see the query.
  for (var d = 0u; d < params.width; d++) {
    storeDkv(dk[d] * params.scale, row, dk0, d);
    storeDkv(dv[d] + nan, row, dv0, d);
  }
}
