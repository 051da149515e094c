// The gradient of the queries (2205.14135) for software devices, with the layout of the forward kernel (subgroup.wgsl).
// It also writes delta, the row sums of dOut * out, which the gradient of keys and values needs.
enable subgroups;

// The element type in memory. Sums are f32.
alias Scalar = f32;
// A number for each query row of a lane.
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
// The keys of a step, 16 or 8. Of 16 the second half may be left out, but not in subgroups of 4, which are SwiftShader's: branches
// in the loops cost it more than 8 keys that count as nothing.
const STEP: u32 = 16u;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
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

struct Pair { first: vec4<f32>, second: vec4<f32> }
struct Slice { x0: Rows, x1: Rows, x2: Rows, x3: Rows }

// A lane's number, then those of the lanes ^ 1, ^ 2 and ^ 3 of its quad.
fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// Elements d ^ 0 … d ^ 3 of two rows of K, where d is this lane's own.
fn keyPair(first: u32, second: u32, d: u32) -> Pair {
  var own = f32(k[first + d]);
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = f32(k[second + d]);
    if (PADDED) { other = select(0.0, other, d < params.width); }
  } else {
    other = subgroupShuffleXor(own, 4u);
  }
  return Pair(share(own), share(other));
}

fn valuePair(first: u32, second: u32, d: u32) -> Pair {
  var own = f32(v[first + d]);
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = f32(v[second + d]);
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

// For each of four rows on the other side, a number for each of the lane's own rows.
struct Four { a: Rows, b: Rows, c: Rows, d: Rows }

// The factors of the probabilities of a lane's queries, `row` of [B, H, Tq], and keys 4 n to 4 n + 3.
fn keptFour(row: Bits, n: u32, stream: u32) -> Four {
  var factors: Four;
  for (var i = 0u; i < ROWS; i++) {
    let own = kept(row[i], n, stream);
    factors.a[i] = own.x;
    factors.b[i] = own.y;
    factors.c[i] = own.z;
    factors.d[i] = own.w;
  }
  return factors;
}

// The same in the order in which this lane gets the two rows of each pair.
fn seenFour(four: Four, flip: u32) -> Four {
  if (flip == 0u) { return four; }
  return Four(four.b, four.a, four.d, four.c);
}

// How many keys some of `count` queries from `first` on see.
fn keysSeen(first: u32, count: u32) -> u32 {
  if (!CAUSAL) { return params.keys; }
  let period = select(params.queries, params.period, GROUPED);
  return min(params.keys, min(positionOf(first) + count, period));
}

// 1 for each of a lane's queries that a causal mask lets see a key, if the key is inside.
fn seenKey(key: u32, position: Bits, inside: bool) -> Bits {
  let one = select(Bits(), Bits(1u), inside);
  if (!CAUSAL) { return one; }
  return select(Bits(), one, Bits(key) <= position);
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

// Applies the masks to a lane's scores with row i of a step's keys, which begin at `first`. Returns 1 for each that counts.
fn maskedKey(score: ptr<function, Rows>, first: u32, i: u32, last: u32, position: Bits, maskRow: Bits) -> Bits {
  let key = first + min(i, last);
  return masked(score, seenKey(key, position, i <= last), maskRow + key * params.maskStep);
}

// The exponentials of a lane's scores. Where bit i of `seen` is 0 they are -0, which marks them as hidden.
fn weight(score: Rows, top: Rows, seen: Bits, i: u32) -> Rows {
  let exponential = exp2(score - top);
  if (!HIDES) { return exponential; }
  var hidden = Bits(0x80000000u); // A variable, because compilers take a constant -0 for 0.
  return select(bitcast<Rows>(hidden), exponential, (seen & Bits(1u << i)) != Bits());
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

fn queryRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(q[at.x + d]);
  element[1] = f32(q[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(q[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(q[at.w + d]); }
  return element;
}

fn outRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(out[at.x + d]);
  element[1] = f32(out[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(out[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(out[at.w + d]); }
  return element;
}

fn gradientRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(dOut[at.x + d]);
  element[1] = f32(dOut[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(dOut[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(dOut[at.w + d]); }
  return element;
}

// Stores element d of a lane's rows, but for those past the last row.
fn storeDq(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (row.x < params.queries) { dq[at.x + d] = Scalar(value[0]); }
  if (row.y < params.queries) { dq[at.y + d] = Scalar(value[1]); }
  if (ROWS > 2u && row.z < params.queries) { dq[at.z + d] = Scalar(value[THIRD]); }
  if (ROWS > 3u && row.w < params.queries) { dq[at.w + d] = Scalar(value[FOURTH]); }
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
  let blocks = (params.queries + LANES * ROWS - 1u) / (LANES * ROWS);
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

  var x: array<Rows, WIDTH>; // [width]: the queries, scaled, and 0 past the width
  var g: array<Rows, WIDTH>; // [width]: dOut, and 0 past the width
  var acc: array<Rows, WIDTH>;
  let clamped = min(row, vec4(params.queries - 1u));
  let q0 = own.x + rowStarts(params.q, b, h, clamped);
  let out0 = own.w + rowStarts(params.out, b, h, clamped);
  let dOut0 = rest.x + rowStarts(params.dOut, b, h, clamped);
  var sum = Rows();
  for (var d = 0u; d < params.width; d++) {
    x[d] = queryRows(q0, d) * (params.scale * LOG2E);
    let gradient = gradientRows(dOut0, d);
    g[d] = gradient;
    sum += gradient * outRows(out0, d);
  }
  let ownRow = head * params.queries + ownOf(row);
  let stream = params.streamLow + wid.z * params.streamStep;
  let keys = keysSeen(group % blocks * LANES * ROWS, LANES * ROWS);
  let least = leastPosition(group % blocks * LANES * ROWS, LANES * ROWS);
  var position: Bits;
  var maskRow: Bits;
  for (var i = 0u; i < ROWS && HIDES; i++) {
    position[i] = positionOf(clamped[i]);
    if (MASK != 0u) { maskRow[i] = rest.w + maskStart(b, h, clamped[i]); }
  }
  var logSum: Rows;
  for (var i = 0u; i < ROWS; i++) { logSum[i] = statistics[rest.z + head * params.queries + clamped[i]] * LOG2E; }

  var longAcc: array<Compensated, LONG_WIDTH>;
  var total = Rows(); // of the probabilities: 1, but for the rounding of logSum
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  let kStep = params.k.w;
  let vStep = params.v.w;
  var kRow = own.y + params.k.x + b * params.k.y + h * params.k.z;
  var vRow = own.z + params.v.x + b * params.v.y + h * params.v.z;
  for (var j = 0u; j < keys; j += STEP) {
    let left = keys - j;
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
    let k0 = kRow + t0 * kStep; let k1 = kRow + t1 * kStep;
    let k2 = kRow + t2 * kStep; let k3 = kRow + t3 * kStep;
    let k4 = kRow + t4 * kStep; let k5 = kRow + t5 * kStep;
    let k6 = kRow + t6 * kStep; let k7 = kRow + t7 * kStep;
    let k8 = kRow + t8 * kStep; let k9 = kRow + t9 * kStep;
    let k10 = kRow + t10 * kStep; let k11 = kRow + t11 * kStep;
    let k12 = kRow + t12 * kStep; let k13 = kRow + t13 * kStep;
    let k14 = kRow + t14 * kStep; let k15 = kRow + t15 * kStep;
    let v0 = vRow + t0 * vStep; let v1 = vRow + t1 * vStep;
    let v2 = vRow + t2 * vStep; let v3 = vRow + t3 * vStep;
    let v4 = vRow + t4 * vStep; let v5 = vRow + t5 * vStep;
    let v6 = vRow + t6 * vStep; let v7 = vRow + t7 * vStep;
    let v8 = vRow + t8 * vStep; let v9 = vRow + t9 * vStep;
    let v10 = vRow + t10 * vStep; let v11 = vRow + t11 * vStep;
    let v12 = vRow + t12 * vStep; let v13 = vRow + t13 * vStep;
    let v14 = vRow + t14 * vStep; let v15 = vRow + t15 * vStep;
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
      let y = Slice(g[d], g[d ^ 1u], g[d ^ 2u], g[d ^ 3u]);
      let w0 = keyPair(k0, k1, d); s0 += product(a, w0.first); s1 += product(a, w0.second);
      let w1 = keyPair(k2, k3, d); s2 += product(a, w1.first); s3 += product(a, w1.second);
      let w2 = keyPair(k4, k5, d); s4 += product(a, w2.first); s5 += product(a, w2.second);
      let w3 = keyPair(k6, k7, d); s6 += product(a, w3.first); s7 += product(a, w3.second);
      let u0 = valuePair(v0, v1, d); p0 += product(y, u0.first); p1 += product(y, u0.second);
      let u1 = valuePair(v2, v3, d); p2 += product(y, u1.first); p3 += product(y, u1.second);
      let u2 = valuePair(v4, v5, d); p4 += product(y, u2.first); p5 += product(y, u2.second);
      let u3 = valuePair(v6, v7, d); p6 += product(y, u3.first); p7 += product(y, u3.second);
      if (more) {
        let w4 = keyPair(k8, k9, d); s8 += product(a, w4.first); s9 += product(a, w4.second);
        let w5 = keyPair(k10, k11, d); s10 += product(a, w5.first); s11 += product(a, w5.second);
        let w6 = keyPair(k12, k13, d); s12 += product(a, w6.first); s13 += product(a, w6.second);
        let w7 = keyPair(k14, k15, d); s14 += product(a, w7.first); s15 += product(a, w7.second);
        let u4 = valuePair(v8, v9, d); p8 += product(y, u4.first); p9 += product(y, u4.second);
        let u5 = valuePair(v10, v11, d); p10 += product(y, u5.first); p11 += product(y, u5.second);
        let u6 = valuePair(v12, v13, d); p12 += product(y, u6.first); p13 += product(y, u6.second);
        let u7 = valuePair(v14, v15, d); p14 += product(y, u7.first); p15 += product(y, u7.second);
      }
    }
    // Of other steps every query sees all keys.
    let guarded = MASK != 0u || (CAUSAL && j + STEP > least + 1u);
    var shown = Bits(0xffffu); // bit i tells of each row whether it counts in score i
    if (guarded) {
      shown = Bits();
      shown |= maskedKey(&s0, j, 0u ^ flip, last, position, maskRow) << Bits(0u);
      shown |= maskedKey(&s1, j, 1u ^ flip, last, position, maskRow) << Bits(1u);
      shown |= maskedKey(&s2, j, 2u ^ flip, last, position, maskRow) << Bits(2u);
      shown |= maskedKey(&s3, j, 3u ^ flip, last, position, maskRow) << Bits(3u);
      shown |= maskedKey(&s4, j, 4u ^ flip, last, position, maskRow) << Bits(4u);
      shown |= maskedKey(&s5, j, 5u ^ flip, last, position, maskRow) << Bits(5u);
      shown |= maskedKey(&s6, j, 6u ^ flip, last, position, maskRow) << Bits(6u);
      shown |= maskedKey(&s7, j, 7u ^ flip, last, position, maskRow) << Bits(7u);
      if (more) {
        shown |= maskedKey(&s8, j, 8u ^ flip, last, position, maskRow) << Bits(8u);
        shown |= maskedKey(&s9, j, 9u ^ flip, last, position, maskRow) << Bits(9u);
        shown |= maskedKey(&s10, j, 10u ^ flip, last, position, maskRow) << Bits(10u);
        shown |= maskedKey(&s11, j, 11u ^ flip, last, position, maskRow) << Bits(11u);
        shown |= maskedKey(&s12, j, 12u ^ flip, last, position, maskRow) << Bits(12u);
        shown |= maskedKey(&s13, j, 13u ^ flip, last, position, maskRow) << Bits(13u);
        shown |= maskedKey(&s14, j, 14u ^ flip, last, position, maskRow) << Bits(14u);
        shown |= maskedKey(&s15, j, 15u ^ flip, last, position, maskRow) << Bits(15u);
      }
    }
    if (DROPOUT) {
      let z0 = seenFour(keptFour(ownRow, j / 4u + 0u, stream), flip);
      p0 *= z0.a; p1 *= z0.b; p2 *= z0.c; p3 *= z0.d;
      let z1 = seenFour(keptFour(ownRow, j / 4u + 1u, stream), flip);
      p4 *= z1.a; p5 *= z1.b; p6 *= z1.c; p7 *= z1.d;
      if (more) {
        let z2 = seenFour(keptFour(ownRow, j / 4u + 2u, stream), flip);
        p8 *= z2.a; p9 *= z2.b; p10 *= z2.c; p11 *= z2.d;
        let z3 = seenFour(keptFour(ownRow, j / 4u + 3u, stream), flip);
        p12 *= z3.a; p13 *= z3.b; p14 *= z3.c; p15 *= z3.d;
      }
    }
    let share0 = weight(s0, logSum, shown, 0u);
    s0 = scoreGradient(share0, p0 - sum);
    let share1 = weight(s1, logSum, shown, 1u);
    s1 = scoreGradient(share1, p1 - sum);
    let share2 = weight(s2, logSum, shown, 2u);
    s2 = scoreGradient(share2, p2 - sum);
    let share3 = weight(s3, logSum, shown, 3u);
    s3 = scoreGradient(share3, p3 - sum);
    let share4 = weight(s4, logSum, shown, 4u);
    s4 = scoreGradient(share4, p4 - sum);
    let share5 = weight(s5, logSum, shown, 5u);
    s5 = scoreGradient(share5, p5 - sum);
    let share6 = weight(s6, logSum, shown, 6u);
    s6 = scoreGradient(share6, p6 - sum);
    let share7 = weight(s7, logSum, shown, 7u);
    s7 = scoreGradient(share7, p7 - sum);
    let share8 = weight(s8, logSum, shown, 8u);
    s8 = scoreGradient(share8, p8 - sum);
    let share9 = weight(s9, logSum, shown, 9u);
    s9 = scoreGradient(share9, p9 - sum);
    let share10 = weight(s10, logSum, shown, 10u);
    s10 = scoreGradient(share10, p10 - sum);
    let share11 = weight(s11, logSum, shown, 11u);
    s11 = scoreGradient(share11, p11 - sum);
    let share12 = weight(s12, logSum, shown, 12u);
    s12 = scoreGradient(share12, p12 - sum);
    let share13 = weight(s13, logSum, shown, 13u);
    s13 = scoreGradient(share13, p13 - sum);
    let share14 = weight(s14, logSum, shown, 14u);
    s14 = scoreGradient(share14, p14 - sum);
    let share15 = weight(s15, logSum, shown, 15u);
    s15 = scoreGradient(share15, p15 - sum);
    if (LONG) {
      var low = ((share0 + share1) + (share2 + share3)) + ((share4 + share5) + (share6 + share7));
      if (more) { low += ((share8 + share9) + (share10 + share11)) + ((share12 + share13) + (share14 + share15)); }
      if (left < STEP) {
        let shares = array<Rows, 16>(
          share0, share1, share2, share3, share4, share5, share6, share7,
          share8, share9, share10, share11, share12, share13, share14, share15,
        );
        low = Rows();
        for (var i = 0u; i < STEP; i++) { low += select(Rows(), shares[i], left > (i ^ flip)); }
      }
      total += low;
    }
    if (!guarded && left < 16u) {
      s0 = select(Rows(), s0, left > (0u ^ flip)); s1 = select(Rows(), s1, left > (1u ^ flip));
      s2 = select(Rows(), s2, left > (2u ^ flip)); s3 = select(Rows(), s3, left > (3u ^ flip));
      s4 = select(Rows(), s4, left > (4u ^ flip)); s5 = select(Rows(), s5, left > (5u ^ flip));
      s6 = select(Rows(), s6, left > (6u ^ flip)); s7 = select(Rows(), s7, left > (7u ^ flip));
      s8 = select(Rows(), s8, left > (8u ^ flip)); s9 = select(Rows(), s9, left > (9u ^ flip));
      s10 = select(Rows(), s10, left > (10u ^ flip)); s11 = select(Rows(), s11, left > (11u ^ flip));
      s12 = select(Rows(), s12, left > (12u ^ flip)); s13 = select(Rows(), s13, left > (13u ^ flip));
      s14 = select(Rows(), s14, left > (14u ^ flip)); s15 = select(Rows(), s15, left > (15u ^ flip));
    }
    if (guarded) {
      for (var c = 0u; c < params.width; c += 4u) {
        let d = c + e;
        var a = pairSumShown(s0, s1, keyPair(k0, k1, d));
        a = addShown(a, s2, s3, keyPair(k2, k3, d));
        a = addShown(a, s4, s5, keyPair(k4, k5, d));
        a = addShown(a, s6, s7, keyPair(k6, k7, d));
        if (more) {
          a = addShown(a, s8, s9, keyPair(k8, k9, d));
          a = addShown(a, s10, s11, keyPair(k10, k11, d));
          a = addShown(a, s12, s13, keyPair(k12, k13, d));
          a = addShown(a, s14, s15, keyPair(k14, k15, d));
        }
        acc[d] += a.x0; acc[d ^ 1u] += a.x1; acc[d ^ 2u] += a.x2; acc[d ^ 3u] += a.x3;
      }
    } else {
      for (var c = 0u; c < params.width; c += 4u) {
        let d = c + e;
        var a = pairSum(s0, s1, keyPair(k0, k1, d));
        a = add(a, s2, s3, keyPair(k2, k3, d));
        a = add(a, s4, s5, keyPair(k4, k5, d));
        a = add(a, s6, s7, keyPair(k6, k7, d));
        if (more) {
          a = add(a, s8, s9, keyPair(k8, k9, d));
          a = add(a, s10, s11, keyPair(k10, k11, d));
          a = add(a, s12, s13, keyPair(k12, k13, d));
          a = add(a, s14, s15, keyPair(k14, k15, d));
        }
        acc[d] += a.x0; acc[d ^ 1u] += a.x1; acc[d ^ 2u] += a.x2; acc[d ^ 3u] += a.x3;
      }
    }
    kRow += STEP * kStep;
    vRow += STEP * vStep;
    if (LONG && ((j + STEP) % FOLD == 0u || left <= STEP)) {
      for (var d = 0u; d < params.width; d++) {
        longAcc[d] = fold(longAcc[d], acc[d], zero);
        acc[d] = Rows();
      }
      longTotal = fold(longTotal, total, zero);
      total = Rows();
    }
  }
  if (LONG) {
    total = longTotal.sum - longTotal.excess;
    if (MASK != 0u) { total = select(total, Rows(1.0), total == Rows()); } // where a query sees nothing
    for (var d = 0u; d < params.width; d++) { acc[d] = (longAcc[d].sum - longAcc[d].excess) / total; }
  }

  let dq0 = rest.y + rowStarts(params.dq, b, h, row);
  for (var d = 0u; d < params.width; d++) { storeDq(acc[d] * params.scale, row, dq0, d); }
  for (var i = 0u; i < ROWS; i++) {
    if (row[i] < params.queries) { statistics[rest.z + deltaStart() + head * params.queries + row[i]] = sum[i]; }
  }
}
