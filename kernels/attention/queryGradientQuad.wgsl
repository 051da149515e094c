// The gradient of the queries (2205.14135) where private arrays want constant places, with the layout of the forward kernel
// (quad.wgsl). It also writes delta, the row sums of dOut * out, which the gradient of keys and values needs.
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
// The workgroup size, which is the largest subgroup size and at least 4.
const LANES: u32 = 4u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the products.
const PADDED: bool = true;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 128u;
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

var<private> x: array<Rows, WIDTH>; // [width]: the queries, scaled, and 0 past the width
var<private> y: array<Rows, WIDTH>; // [width]: dOut, and 0 past the width
var<private> acc: array<Rows, WIDTH>;
var<private> longAcc: array<Compensated, LONG_WIDTH>;
var<private> sum: Rows; // of dOut * out

// For each of four rows on the other side, a number for each of the lane's own rows.
struct Four { a: Rows, b: Rows, c: Rows, d: Rows }

// A lane's number, then those of the lanes ^ 1, ^ 2 and ^ 3 of its quad.
fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
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

// Numbers of a lane's own rows, of which there may be fewer than four.
fn ownOf(all: vec4<u32>) -> Bits {
  var own: Bits;
  own[0] = all.x;
  own[1] = all.y;
  if (ROWS > 2u) { own[THIRD] = all.z; }
  if (ROWS > 3u) { own[FOURTH] = all.w; }
  return own;
}

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

// A lane's numbers times the factors of dropout, if there is any.
fn dropped(value: Rows, factor: Rows) -> Rows {
  if (!DROPOUT) { return value; }
  return value * factor;
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

// For each of four weights, bits that are all 1, or 0 where the weight is -0, since a value that is hidden may be NaN.
struct Shown { a: Bits, b: Bits, c: Bits, d: Bits }

fn shownBits(weight: Rows) -> Bits {
  return select(Bits(0xffffffffu), Bits(), bitcast<Bits>(weight) == Bits(0x80000000u));
}

fn shownOf(s: Four) -> Shown {
  return Shown(shownBits(s.a), shownBits(s.b), shownBits(s.c), shownBits(s.d));
}

// A weight times a value, and 0 where the bits are 0.
fn shownProduct(weight: Rows, value: f32, shown: Bits) -> Rows {
  return bitcast<Rows>(bitcast<Bits>(weight * value) & shown);
}

// The gradients of scores, of probabilities and their own gradients. Hidden ones stay -0, and no other is.
fn scoreGradient(share: Rows, gradient: Rows) -> Rows {
  let product = share * gradient;
  if (!HIDES) { return product; }
  let unmarked = select(product, Rows(), product == Rows());
  return select(unmarked, share, bitcast<Bits>(share) == Bits(0x80000000u));
}

// The index of the first element of each of four rows of a head.
fn rowStarts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn isInside(d: u32) -> bool {
  return !PADDED || d < params.width;
}

fn maskedQueryRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(q[at.x + d]);
  element[1] = f32(q[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(q[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(q[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn maskedOutRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(out[at.x + d]);
  element[1] = f32(out[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(out[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(out[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn maskedGradientRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(dOut[at.x + d]);
  element[1] = f32(dOut[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(dOut[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(dOut[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn loadQuery(q0: vec4<u32>, g0: vec4<u32>, o0: vec4<u32>, c: u32, d: u32) {
  x[c] = maskedQueryRows(q0, d) * (params.scale * LOG2E);
  y[c] = maskedGradientRows(g0, d);
  sum += y[c] * maskedOutRows(o0, d);
}

// The part of the scores of a lane's queries that comes from elements c to c + 3 of the key that begins at `at`.
fn keyScores4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(k[at + c + e]), isInside(c + e)));
  return (x[c] * w.x + x[c + 1u] * w.y) + (x[c + 2u] * w.z + x[c + 3u] * w.w);
}

fn keyScores16(at: u32, c: u32, e: u32) -> Rows {
  return (keyScores4(at, c, e) + keyScores4(at, c + 4u, e)) + (keyScores4(at, c + 8u, e) + keyScores4(at, c + 12u, e));
}

fn keyScores(at: u32, e: u32) -> Rows {
  var sum = keyScores16(at, 0u, e);
  if (WIDTH > 16u) { sum += keyScores16(at, 16u, e); }
  if (WIDTH > 32u) { sum += keyScores16(at, 32u, e); }
  if (WIDTH > 48u) { sum += keyScores16(at, 48u, e); }
  if (WIDTH > 64u) { sum += keyScores16(at, 64u, e); }
  if (WIDTH > 80u) { sum += keyScores16(at, 80u, e); }
  if (WIDTH > 96u) { sum += keyScores16(at, 96u, e); }
  if (WIDTH > 112u) { sum += keyScores16(at, 112u, e); }
  return sum;
}

// The part of the gradients of a lane's probabilities that comes from elements c to c + 3 of the value that begins at `at`.
fn valueGradients4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(v[at + c + e]), isInside(c + e)));
  return (y[c] * w.x + y[c + 1u] * w.y) + (y[c + 2u] * w.z + y[c + 3u] * w.w);
}

fn valueGradients16(at: u32, c: u32, e: u32) -> Rows {
  return (valueGradients4(at, c, e) + valueGradients4(at, c + 4u, e))
    + (valueGradients4(at, c + 8u, e) + valueGradients4(at, c + 12u, e));
}

fn valueGradients(at: u32, e: u32) -> Rows {
  var sum = valueGradients16(at, 0u, e);
  if (WIDTH > 16u) { sum += valueGradients16(at, 16u, e); }
  if (WIDTH > 32u) { sum += valueGradients16(at, 32u, e); }
  if (WIDTH > 48u) { sum += valueGradients16(at, 48u, e); }
  if (WIDTH > 64u) { sum += valueGradients16(at, 64u, e); }
  if (WIDTH > 80u) { sum += valueGradients16(at, 80u, e); }
  if (WIDTH > 96u) { sum += valueGradients16(at, 96u, e); }
  if (WIDTH > 112u) { sum += valueGradients16(at, 112u, e); }
  return sum;
}

// Adds elements of four keys, times their weights s, to places c to c + 3 of the sums.
fn addKeys4(s: Four, at: vec4<u32>, c: u32) {
  let a = share(f32(k[at.x + c]));
  let b = share(f32(k[at.y + c]));
  let f = share(f32(k[at.z + c]));
  let g = share(f32(k[at.w + c]));
  acc[c] += (s.a * a.x + s.b * b.x) + (s.c * f.x + s.d * g.x);
  acc[c + 1u] += (s.a * a.y + s.b * b.y) + (s.c * f.y + s.d * g.y);
  acc[c + 2u] += (s.a * a.z + s.b * b.z) + (s.c * f.z + s.d * g.z);
  acc[c + 3u] += (s.a * a.w + s.b * b.w) + (s.c * f.w + s.d * g.w);
}

fn addKeys16(s: Four, at: vec4<u32>, c: u32) {
  addKeys4(s, at, c);
  addKeys4(s, at, c + 4u);
  addKeys4(s, at, c + 8u);
  addKeys4(s, at, c + 12u);
}

fn addKeys(s: Four, at: vec4<u32>) {
  addKeys16(s, at, 0u);
  if (WIDTH > 16u) { addKeys16(s, at, 16u); }
  if (WIDTH > 32u) { addKeys16(s, at, 32u); }
  if (WIDTH > 48u) { addKeys16(s, at, 48u); }
  if (WIDTH > 64u) { addKeys16(s, at, 64u); }
  if (WIDTH > 80u) { addKeys16(s, at, 80u); }
  if (WIDTH > 96u) { addKeys16(s, at, 96u); }
  if (WIDTH > 112u) { addKeys16(s, at, 112u); }
}

// The same where weights may be hidden: adds elements of four keys, times their weights s, to places c to c + 3 of the sums.
fn addKeysShown4(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  let a = share(f32(k[at.x + c]));
  let b = share(f32(k[at.y + c]));
  let f = share(f32(k[at.z + c]));
  let g = share(f32(k[at.w + c]));
  acc[c] += (shownProduct(s.a, a.x, m.a) + shownProduct(s.b, b.x, m.b)) + (shownProduct(s.c, f.x, m.c) + shownProduct(s.d, g.x, m.d));
  acc[c + 1u] += (shownProduct(s.a, a.y, m.a) + shownProduct(s.b, b.y, m.b)) + (shownProduct(s.c, f.y, m.c) + shownProduct(s.d, g.y, m.d));
  acc[c + 2u] += (shownProduct(s.a, a.z, m.a) + shownProduct(s.b, b.z, m.b)) + (shownProduct(s.c, f.z, m.c) + shownProduct(s.d, g.z, m.d));
  acc[c + 3u] += (shownProduct(s.a, a.w, m.a) + shownProduct(s.b, b.w, m.b)) + (shownProduct(s.c, f.w, m.c) + shownProduct(s.d, g.w, m.d));
}

fn addKeysShown16(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  addKeysShown4(s, m, at, c);
  addKeysShown4(s, m, at, c + 4u);
  addKeysShown4(s, m, at, c + 8u);
  addKeysShown4(s, m, at, c + 12u);
}

fn addKeysShown(s: Four, at: vec4<u32>) {
  let m = shownOf(s);
  addKeysShown16(s, m, at, 0u);
  if (WIDTH > 16u) { addKeysShown16(s, m, at, 16u); }
  if (WIDTH > 32u) { addKeysShown16(s, m, at, 32u); }
  if (WIDTH > 48u) { addKeysShown16(s, m, at, 48u); }
  if (WIDTH > 64u) { addKeysShown16(s, m, at, 64u); }
  if (WIDTH > 80u) { addKeysShown16(s, m, at, 80u); }
  if (WIDTH > 96u) { addKeysShown16(s, m, at, 96u); }
  if (WIDTH > 112u) { addKeysShown16(s, m, at, 112u); }
}

// The sums at place c.
fn summed(c: u32) -> Rows {
  if (LONG) { return longAcc[c].sum - longAcc[c].excess; }
  return acc[c];
}

// Stores element d of a lane's rows, but for those past the last row.
fn storeMaskedDq(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (!isInside(d)) { return; }
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

// Moves elements of the sums into the long sums. This is written out, as all loops over the width are.
fn fold4(c: u32, zero: u32) {
  longAcc[c] = fold(longAcc[c], acc[c], zero);
  longAcc[c + 1u] = fold(longAcc[c + 1u], acc[c + 1u], zero);
  longAcc[c + 2u] = fold(longAcc[c + 2u], acc[c + 2u], zero);
  longAcc[c + 3u] = fold(longAcc[c + 3u], acc[c + 3u], zero);
  acc[c] = Rows();
  acc[c + 1u] = Rows();
  acc[c + 2u] = Rows();
  acc[c + 3u] = Rows();
}

fn fold16(c: u32, zero: u32) {
  fold4(c, zero);
  fold4(c + 4u, zero);
  fold4(c + 8u, zero);
  fold4(c + 12u, zero);
}

fn foldAll(zero: u32) {
  fold16(0u, zero);
  if (WIDTH > 16u) { fold16(16u, zero); }
  if (WIDTH > 32u) { fold16(32u, zero); }
  if (WIDTH > 48u) { fold16(48u, zero); }
  if (WIDTH > 64u) { fold16(64u, zero); }
  if (WIDTH > 80u) { fold16(80u, zero); }
  if (WIDTH > 96u) { fold16(96u, zero); }
  if (WIDTH > 112u) { fold16(112u, zero); }
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
  let clamped = min(row, vec4(params.queries - 1u));
  let ownRow = head * params.queries + ownOf(row);
  let stream = params.streamLow + wid.z * params.streamStep;
  let keys = keysSeen(group % blocks * LANES * ROWS, LANES * ROWS);
  var position: Bits;
  var maskRow: Bits;
  for (var i = 0u; i < ROWS && HIDES; i++) {
    let query = min(row[i], params.queries - 1u);
    position[i] = positionOf(query);
    if (MASK != 0u) { maskRow[i] = rest.w + maskStart(b, h, query); }
  }
  let e = lane & 3u;
  let q0 = own.x + rowStarts(params.q, b, h, clamped);
  let o0 = own.w + rowStarts(params.out, b, h, clamped);
  let g0 = rest.x + rowStarts(params.dOut, b, h, clamped);
  for (var c = 0u; c < WIDTH; c += 4u) {
    loadQuery(q0, g0, o0, c, c + e);
    loadQuery(q0, g0, o0, c + 1u, c + (1u ^ e));
    loadQuery(q0, g0, o0, c + 2u, c + (2u ^ e));
    loadQuery(q0, g0, o0, c + 3u, c + (3u ^ e));
  }
  var logSum: Rows;
  for (var i = 0u; i < ROWS; i++) { logSum[i] = statistics[rest.z + head * params.queries + clamped[i]] * LOG2E; }

  var total = Rows(); // of the probabilities: 1, but for the rounding of logSum
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var kRow = own.y + params.k.x + b * params.k.y + h * params.k.z;
  var vRow = own.z + params.v.x + b * params.v.y + h * params.v.z;
  var j = 0u;
  loop {
    let stop = select(keys, min(j + FOLD, keys), LONG);
    for (; j < stop; j += 4u) {
      let last = keys - j - 1u;
      let t = min(vec4(0u, 1u, 2u, 3u), vec4(last));
      let kAt = kRow + t * params.k.w;
      let vAt = vRow + t * params.v.w;
      var s = Four(keyScores(kAt.x, e), keyScores(kAt.y, e), keyScores(kAt.z, e), keyScores(kAt.w, e));
      var shown = Bits(15u); // bit i tells of each row whether it counts in score i
      if (HIDES) {
        var a = s.a;
        var b = s.b;
        var c = s.c;
        var d = s.d;
        shown = maskedKey(&a, j, 0u, last, position, maskRow) | (maskedKey(&b, j, 1u, last, position, maskRow) << Bits(1u));
        shown |= maskedKey(&c, j, 2u, last, position, maskRow) << Bits(2u);
        shown |= maskedKey(&d, j, 3u, last, position, maskRow) << Bits(3u);
        s = Four(a, b, c, d);
      }
      var z: Four;
      if (DROPOUT) { z = keptFour(ownRow, j / 4u, stream); }
      let shareX = weight(s.a, logSum, shown, 0u);
      s.a = scoreGradient(shareX, dropped(valueGradients(vAt.x, e), z.a) - sum);
      let shareY = weight(s.b, logSum, shown, 1u);
      s.b = scoreGradient(shareY, dropped(valueGradients(vAt.y, e), z.b) - sum);
      let shareZ = weight(s.c, logSum, shown, 2u);
      s.c = scoreGradient(shareZ, dropped(valueGradients(vAt.z, e), z.c) - sum);
      let shareW = weight(s.d, logSum, shown, 3u);
      s.d = scoreGradient(shareW, dropped(valueGradients(vAt.w, e), z.d) - sum);
      if (LONG) {
        let low = shareX + select(Rows(), shareY, last >= 1u);
        total += low + (select(Rows(), shareZ, last >= 2u) + select(Rows(), shareW, last >= 3u));
      }
      if (!HIDES && last < 3u) {
        s.b = select(Rows(), s.b, last >= 1u);
        s.c = select(Rows(), s.c, last >= 2u);
        s.d = Rows();
      }
      if (HIDES) {
        addKeysShown(s, kAt + e);
      } else {
        addKeys(s, kAt + e);
      }
      kRow += 4u * params.k.w;
      vRow += 4u * params.v.w;
    }
    if (!LONG) { break; }
    foldAll(zero);
    longTotal = fold(longTotal, total, zero);
    total = Rows();
    if (j >= keys) { break; }
  }
  var scale = Rows(params.scale);
  if (LONG) {
    total = longTotal.sum - longTotal.excess;
    if (MASK != 0u) { total = select(total, Rows(1.0), total == Rows()); } // where a query sees nothing
    scale /= total;
  }

  let to = rest.y + rowStarts(params.dq, b, h, row);
  for (var c = 0u; c < WIDTH; c += 4u) {
    storeMaskedDq(summed(c) * scale, row, to, c + e);
    storeMaskedDq(summed(c + 1u) * scale, row, to, c + (1u ^ e));
    storeMaskedDq(summed(c + 2u) * scale, row, to, c + (2u ^ e));
    storeMaskedDq(summed(c + 3u) * scale, row, to, c + (3u ^ e));
  }
  for (var i = 0u; i < ROWS; i++) {
    if (row[i] < params.queries) { statistics[rest.z + deltaStart() + head * params.queries + row[i]] = sum[i]; }
  }
}
