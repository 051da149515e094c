// The gradients of keys and values (2205.14135) where private arrays want constant places, with the layout of the forward kernel
// (quad.wgsl), except that a lane owns key rows and queries are handed round. Both gradients go to one buffer, each at its own
// offset and strides.
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
// The workgroup size, which is the largest subgroup size and at least 4.
const LANES: u32 = 4u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the products.
const PADDED: bool = true;
// Whether there are so many queries that one chain of additions loses digits. Then sums over FOLD queries are compensated.
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

var<private> x: array<Rows, WIDTH>; // [width]: the keys, scaled, and 0 past the width
var<private> y: array<Rows, WIDTH>; // [width]: the values, and 0 past the width
var<private> dk: array<Rows, WIDTH>;
var<private> dv: array<Rows, WIDTH>;
var<private> longDk: array<Compensated, LONG_WIDTH>;
var<private> longDv: array<Compensated, LONG_WIDTH>;

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

fn maskedKeyRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(k[at.x + d]);
  element[1] = f32(k[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(k[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(k[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn maskedValueRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(v[at.x + d]);
  element[1] = f32(v[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(v[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(v[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn loadKeyAndValue(k0: vec4<u32>, v0: vec4<u32>, c: u32, d: u32) {
  x[c] = maskedKeyRows(k0, d) * (params.scale * LOG2E);
  y[c] = maskedValueRows(v0, d);
}

// The part of the scores of a lane's keys that comes from elements c to c + 3 of the query that begins at `at`.
fn queryScores4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(q[at + c + e]), isInside(c + e)));
  return (x[c] * w.x + x[c + 1u] * w.y) + (x[c + 2u] * w.z + x[c + 3u] * w.w);
}

fn queryScores16(at: u32, c: u32, e: u32) -> Rows {
  return (queryScores4(at, c, e) + queryScores4(at, c + 4u, e)) + (queryScores4(at, c + 8u, e) + queryScores4(at, c + 12u, e));
}

fn queryScores(at: u32, e: u32) -> Rows {
  var sum = queryScores16(at, 0u, e);
  if (WIDTH > 16u) { sum += queryScores16(at, 16u, e); }
  if (WIDTH > 32u) { sum += queryScores16(at, 32u, e); }
  if (WIDTH > 48u) { sum += queryScores16(at, 48u, e); }
  if (WIDTH > 64u) { sum += queryScores16(at, 64u, e); }
  if (WIDTH > 80u) { sum += queryScores16(at, 80u, e); }
  if (WIDTH > 96u) { sum += queryScores16(at, 96u, e); }
  if (WIDTH > 112u) { sum += queryScores16(at, 112u, e); }
  return sum;
}

// The part of the gradients of a lane's probabilities that comes from elements c to c + 3 of the row of dOut that begins at `at`.
fn outGradients4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(dOut[at + c + e]), isInside(c + e)));
  return (y[c] * w.x + y[c + 1u] * w.y) + (y[c + 2u] * w.z + y[c + 3u] * w.w);
}

fn outGradients16(at: u32, c: u32, e: u32) -> Rows {
  return (outGradients4(at, c, e) + outGradients4(at, c + 4u, e)) + (outGradients4(at, c + 8u, e) + outGradients4(at, c + 12u, e));
}

fn outGradients(at: u32, e: u32) -> Rows {
  var sum = outGradients16(at, 0u, e);
  if (WIDTH > 16u) { sum += outGradients16(at, 16u, e); }
  if (WIDTH > 32u) { sum += outGradients16(at, 32u, e); }
  if (WIDTH > 48u) { sum += outGradients16(at, 48u, e); }
  if (WIDTH > 64u) { sum += outGradients16(at, 64u, e); }
  if (WIDTH > 80u) { sum += outGradients16(at, 80u, e); }
  if (WIDTH > 96u) { sum += outGradients16(at, 96u, e); }
  if (WIDTH > 112u) { sum += outGradients16(at, 112u, e); }
  return sum;
}

// Adds elements of four queries, times their weights s, to places c to c + 3 of dk.
fn addQueries4(s: Four, at: vec4<u32>, c: u32) {
  let a = share(f32(q[at.x + c]));
  let b = share(f32(q[at.y + c]));
  let f = share(f32(q[at.z + c]));
  let g = share(f32(q[at.w + c]));
  dk[c] += (s.a * a.x + s.b * b.x) + (s.c * f.x + s.d * g.x);
  dk[c + 1u] += (s.a * a.y + s.b * b.y) + (s.c * f.y + s.d * g.y);
  dk[c + 2u] += (s.a * a.z + s.b * b.z) + (s.c * f.z + s.d * g.z);
  dk[c + 3u] += (s.a * a.w + s.b * b.w) + (s.c * f.w + s.d * g.w);
}

fn addQueries16(s: Four, at: vec4<u32>, c: u32) {
  addQueries4(s, at, c);
  addQueries4(s, at, c + 4u);
  addQueries4(s, at, c + 8u);
  addQueries4(s, at, c + 12u);
}

fn addQueries(s: Four, at: vec4<u32>) {
  addQueries16(s, at, 0u);
  if (WIDTH > 16u) { addQueries16(s, at, 16u); }
  if (WIDTH > 32u) { addQueries16(s, at, 32u); }
  if (WIDTH > 48u) { addQueries16(s, at, 48u); }
  if (WIDTH > 64u) { addQueries16(s, at, 64u); }
  if (WIDTH > 80u) { addQueries16(s, at, 80u); }
  if (WIDTH > 96u) { addQueries16(s, at, 96u); }
  if (WIDTH > 112u) { addQueries16(s, at, 112u); }
}

// The same where weights may be hidden: adds elements of four queries, times their weights s, to places c to c + 3 of dk.
fn addQueriesShown4(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  let a = share(f32(q[at.x + c]));
  let b = share(f32(q[at.y + c]));
  let f = share(f32(q[at.z + c]));
  let g = share(f32(q[at.w + c]));
  dk[c] += (shownProduct(s.a, a.x, m.a) + shownProduct(s.b, b.x, m.b)) + (shownProduct(s.c, f.x, m.c) + shownProduct(s.d, g.x, m.d));
  dk[c + 1u] += (shownProduct(s.a, a.y, m.a) + shownProduct(s.b, b.y, m.b)) + (shownProduct(s.c, f.y, m.c) + shownProduct(s.d, g.y, m.d));
  dk[c + 2u] += (shownProduct(s.a, a.z, m.a) + shownProduct(s.b, b.z, m.b)) + (shownProduct(s.c, f.z, m.c) + shownProduct(s.d, g.z, m.d));
  dk[c + 3u] += (shownProduct(s.a, a.w, m.a) + shownProduct(s.b, b.w, m.b)) + (shownProduct(s.c, f.w, m.c) + shownProduct(s.d, g.w, m.d));
}

fn addQueriesShown16(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  addQueriesShown4(s, m, at, c);
  addQueriesShown4(s, m, at, c + 4u);
  addQueriesShown4(s, m, at, c + 8u);
  addQueriesShown4(s, m, at, c + 12u);
}

fn addQueriesShown(s: Four, at: vec4<u32>) {
  let m = shownOf(s);
  addQueriesShown16(s, m, at, 0u);
  if (WIDTH > 16u) { addQueriesShown16(s, m, at, 16u); }
  if (WIDTH > 32u) { addQueriesShown16(s, m, at, 32u); }
  if (WIDTH > 48u) { addQueriesShown16(s, m, at, 48u); }
  if (WIDTH > 64u) { addQueriesShown16(s, m, at, 64u); }
  if (WIDTH > 80u) { addQueriesShown16(s, m, at, 80u); }
  if (WIDTH > 96u) { addQueriesShown16(s, m, at, 96u); }
  if (WIDTH > 112u) { addQueriesShown16(s, m, at, 112u); }
}

// Adds elements of four rows of dOut, times their weights s, to places c to c + 3 of dv.
fn addGradients4(s: Four, at: vec4<u32>, c: u32) {
  let a = share(f32(dOut[at.x + c]));
  let b = share(f32(dOut[at.y + c]));
  let f = share(f32(dOut[at.z + c]));
  let g = share(f32(dOut[at.w + c]));
  dv[c] += (s.a * a.x + s.b * b.x) + (s.c * f.x + s.d * g.x);
  dv[c + 1u] += (s.a * a.y + s.b * b.y) + (s.c * f.y + s.d * g.y);
  dv[c + 2u] += (s.a * a.z + s.b * b.z) + (s.c * f.z + s.d * g.z);
  dv[c + 3u] += (s.a * a.w + s.b * b.w) + (s.c * f.w + s.d * g.w);
}

fn addGradients16(s: Four, at: vec4<u32>, c: u32) {
  addGradients4(s, at, c);
  addGradients4(s, at, c + 4u);
  addGradients4(s, at, c + 8u);
  addGradients4(s, at, c + 12u);
}

fn addGradients(s: Four, at: vec4<u32>) {
  addGradients16(s, at, 0u);
  if (WIDTH > 16u) { addGradients16(s, at, 16u); }
  if (WIDTH > 32u) { addGradients16(s, at, 32u); }
  if (WIDTH > 48u) { addGradients16(s, at, 48u); }
  if (WIDTH > 64u) { addGradients16(s, at, 64u); }
  if (WIDTH > 80u) { addGradients16(s, at, 80u); }
  if (WIDTH > 96u) { addGradients16(s, at, 96u); }
  if (WIDTH > 112u) { addGradients16(s, at, 112u); }
}

// The same where weights may be hidden: adds elements of four rows of dOut, times their weights s, to places c to c + 3 of dv.
fn addGradientsShown4(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  let a = share(f32(dOut[at.x + c]));
  let b = share(f32(dOut[at.y + c]));
  let f = share(f32(dOut[at.z + c]));
  let g = share(f32(dOut[at.w + c]));
  dv[c] += (shownProduct(s.a, a.x, m.a) + shownProduct(s.b, b.x, m.b)) + (shownProduct(s.c, f.x, m.c) + shownProduct(s.d, g.x, m.d));
  dv[c + 1u] += (shownProduct(s.a, a.y, m.a) + shownProduct(s.b, b.y, m.b)) + (shownProduct(s.c, f.y, m.c) + shownProduct(s.d, g.y, m.d));
  dv[c + 2u] += (shownProduct(s.a, a.z, m.a) + shownProduct(s.b, b.z, m.b)) + (shownProduct(s.c, f.z, m.c) + shownProduct(s.d, g.z, m.d));
  dv[c + 3u] += (shownProduct(s.a, a.w, m.a) + shownProduct(s.b, b.w, m.b)) + (shownProduct(s.c, f.w, m.c) + shownProduct(s.d, g.w, m.d));
}

fn addGradientsShown16(s: Four, m: Shown, at: vec4<u32>, c: u32) {
  addGradientsShown4(s, m, at, c);
  addGradientsShown4(s, m, at, c + 4u);
  addGradientsShown4(s, m, at, c + 8u);
  addGradientsShown4(s, m, at, c + 12u);
}

fn addGradientsShown(s: Four, at: vec4<u32>) {
  let m = shownOf(s);
  addGradientsShown16(s, m, at, 0u);
  if (WIDTH > 16u) { addGradientsShown16(s, m, at, 16u); }
  if (WIDTH > 32u) { addGradientsShown16(s, m, at, 32u); }
  if (WIDTH > 48u) { addGradientsShown16(s, m, at, 48u); }
  if (WIDTH > 64u) { addGradientsShown16(s, m, at, 64u); }
  if (WIDTH > 80u) { addGradientsShown16(s, m, at, 80u); }
  if (WIDTH > 96u) { addGradientsShown16(s, m, at, 96u); }
  if (WIDTH > 112u) { addGradientsShown16(s, m, at, 112u); }
}

// The sums of dk at place c.
fn summedDk(c: u32) -> Rows {
  if (LONG) { return longDk[c].sum - longDk[c].excess; }
  return dk[c];
}

fn summedDv(c: u32) -> Rows {
  if (LONG) { return longDv[c].sum - longDv[c].excess; }
  return dv[c];
}

// Stores element d of a lane's rows, but for those past the last row.
fn storeMaskedDkv(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (!isInside(d)) { return; }
  if (row.x < params.keys) { dkv[at.x + d] = Scalar(value[0]); }
  if (row.y < params.keys) { dkv[at.y + d] = Scalar(value[1]); }
  if (ROWS > 2u && row.z < params.keys) { dkv[at.z + d] = Scalar(value[THIRD]); }
  if (ROWS > 3u && row.w < params.keys) { dkv[at.w + d] = Scalar(value[FOURTH]); }
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

// Moves elements of the sums into the long sums. This is written out, as all loops over the width are.
fn foldBoth4(c: u32, zero: u32) {
  longDk[c] = fold(longDk[c], dk[c], zero);
  longDk[c + 1u] = fold(longDk[c + 1u], dk[c + 1u], zero);
  longDk[c + 2u] = fold(longDk[c + 2u], dk[c + 2u], zero);
  longDk[c + 3u] = fold(longDk[c + 3u], dk[c + 3u], zero);
  longDv[c] = fold(longDv[c], dv[c], zero);
  longDv[c + 1u] = fold(longDv[c + 1u], dv[c + 1u], zero);
  longDv[c + 2u] = fold(longDv[c + 2u], dv[c + 2u], zero);
  longDv[c + 3u] = fold(longDv[c + 3u], dv[c + 3u], zero);
  dk[c] = Rows();
  dk[c + 1u] = Rows();
  dk[c + 2u] = Rows();
  dk[c + 3u] = Rows();
  dv[c] = Rows();
  dv[c + 1u] = Rows();
  dv[c + 2u] = Rows();
  dv[c + 3u] = Rows();
}

fn foldBoth16(c: u32, zero: u32) {
  foldBoth4(c, zero);
  foldBoth4(c + 4u, zero);
  foldBoth4(c + 8u, zero);
  foldBoth4(c + 12u, zero);
}

fn foldBothAll(zero: u32) {
  foldBoth16(0u, zero);
  if (WIDTH > 16u) { foldBoth16(16u, zero); }
  if (WIDTH > 32u) { foldBoth16(32u, zero); }
  if (WIDTH > 48u) { foldBoth16(48u, zero); }
  if (WIDTH > 64u) { foldBoth16(64u, zero); }
  if (WIDTH > 80u) { foldBoth16(80u, zero); }
  if (WIDTH > 96u) { foldBoth16(96u, zero); }
  if (WIDTH > 112u) { foldBoth16(112u, zero); }
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
  let clamped = min(row, vec4(params.keys - 1u));
  let e = lane & 3u;
  let key = ownOf(clamped);
  let firstKey = group % blocks * LANES * ROWS;
  let stream = params.streamLow + wid.z * params.streamStep;
  let k0 = own.y + rowStarts(params.k, b, h, clamped);
  let v0 = own.z + rowStarts(params.v, b, h, clamped);
  for (var c = 0u; c < WIDTH; c += 4u) {
    loadKeyAndValue(k0, v0, c, c + e);
    loadKeyAndValue(k0, v0, c + 1u, c + (1u ^ e));
    loadKeyAndValue(k0, v0, c + 2u, c + (2u ^ e));
    loadKeyAndValue(k0, v0, c + 3u, c + (3u ^ e));
  }

  var qRow = own.x + params.q.x + b * params.q.y + h * params.q.z;
  var gRow = own.w + params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  let sums = rest.xy + head * params.queries;
  var bits = vec4<u32>();
  let zero = params.width >> 31u; // 0, which compilers do not know
  var j = 0u;
  loop {
    let stop = select(params.queries, min(j + FOLD, params.queries), LONG);
    for (; j < stop; j += 4u) {
      while (j + 4u < stop && skipsQueries(j, 4u, firstKey)) {
        j += 4u;
        qRow += 4u * params.q.w;
        gRow += 4u * params.dOut.w;
      }
      let last = params.queries - j - 1u;
      let t = min(vec4(0u, 1u, 2u, 3u), vec4(last));
      let qAt = qRow + t * params.q.w;
      let gAt = gRow + t * params.dOut.w;
      let i = sums.x + j + t;
      let logSum = vec4(lse[i.x], lse[i.y], lse[i.z], lse[i.w]) * LOG2E;
      bits = max(bits, sizeBits(logSum));
      var s = Four(queryScores(qAt.x, e), queryScores(qAt.y, e), queryScores(qAt.z, e), queryScores(qAt.w, e));
      var shown = Bits(15u); // bit i tells of each row whether it counts in score i
      if (HIDES) {
        var a = s.a;
        var f = s.b;
        var c = s.c;
        var d = s.d;
        shown = maskedQuery(&a, j, 0u, last, key, rest.w, b, h) | (maskedQuery(&f, j, 1u, last, key, rest.w, b, h) << Bits(1u));
        shown |= maskedQuery(&c, j, 2u, last, key, rest.w, b, h) << Bits(2u);
        shown |= maskedQuery(&d, j, 3u, last, key, rest.w, b, h) << Bits(3u);
        s = Four(a, f, c, d);
      }
      // Turns scores into probabilities s, and dOut * v into the gradient p of the scores.
      s = Four(
        probability(s.a, logSum.x, shown, 0u), probability(s.b, logSum.y, shown, 1u),
        probability(s.c, logSum.z, shown, 2u), probability(s.d, logSum.w, shown, 3u),
      );
      if (!HIDES && last < 3u) {
        s.b = select(Rows(), s.b, last >= 1u);
        s.c = select(Rows(), s.c, last >= 2u);
        s.d = Rows();
      }
      let n = sums.y + j + t;
      var z: Four; // the factors of dropout
      if (DROPOUT) {
        let first = head * params.queries + j + t;
        z = Four(
          keptKeys(first.x, key, stream), keptKeys(first.y, key, stream), keptKeys(first.z, key, stream),
          keptKeys(first.w, key, stream),
        );
      }
      let p = Four(
        scoreGradient(s.a, dropped(outGradients(gAt.x, e), z.a) - delta[n.x]),
        scoreGradient(s.b, dropped(outGradients(gAt.y, e), z.b) - delta[n.y]),
        scoreGradient(s.c, dropped(outGradients(gAt.z, e), z.c) - delta[n.z]),
        scoreGradient(s.d, dropped(outGradients(gAt.w, e), z.d) - delta[n.w]),
      );
      s = Four(dropped(s.a, z.a), dropped(s.b, z.b), dropped(s.c, z.c), dropped(s.d, z.d));
      if (HIDES) {
        addQueriesShown(p, qAt + e);
        addGradientsShown(s, gAt + e);
      } else {
        addQueries(p, qAt + e);
        addGradients(s, gAt + e);
      }
      qRow += 4u * params.q.w;
      gRow += 4u * params.dOut.w;
    }
    if (!LONG) { break; }
    foldBothAll(zero);
    if (j >= params.queries) { break; }
  }

  let dk0 = rest.z + rowStarts(params.dk, b, h, row);
  let dv0 = rest.z + rowStarts(params.dv, b, h, row);
  var nan = spoiled(bits);
  if (HIDES) { nan = 0.0; } // Of the keys only some see the query.
  for (var c = 0u; c < WIDTH; c += 4u) {
    for (var i = 0u; i < 4u; i++) {
      storeMaskedDkv(summedDk(c + i) * params.scale, row, dk0, c + (i ^ e));
      storeMaskedDkv(summedDv(c + i) + nan, row, dv0, c + (i ^ e));
    }
  }
}
