// The gradients of keys and values (2205.14135) for GPUs, with the layout of the forward kernel (tiled.wgsl), except that the
// workgroup owns key rows and passes over the queries. Both gradients go to one buffer, each at its own offset and strides.

// The element type in memory. Sums are f32.
alias Scalar = f32;
// The element type of the bindings: Scalar, or vec4<Scalar> where all rows can be loaded and stored by fours.
alias Element = Scalar;
const FOURS: bool = false;
// Four(v)[s] is what the store number s of a vector writes: one of its elements, or the whole vector of an array of one.
alias Four = vec4<Scalar>;
const STORES: u32 = select(4u, 1u, FOURS);
// The element type of lse and delta: vec4<f32> where every head's queries come in fours.
alias Statistic = f32;
const STATISTICS_FOURS: bool = false;
alias Sum = vec4<f32>;
alias Bits = vec4<u32>;
// The parts of a workgroup, which take turns with the tiles.
const PARTS: u32 = 1u;
const WORKGROUP: u32 = 128u * PARTS;
// The slices of 8 vectors in a head's row. A thread accumulates one vector of each for 4 rows.
const SLICES: u32 = 2u;
// Whether there are so many queries that one chain of additions loses digits. Then the sums of tiles are compensated.
const LONG: bool = false;
const LONG_SLICES: u32 = select(1u, SLICES, LONG);
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

@group(0) @binding(0) var<storage, read> q: array<Element>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Element>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Element>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> dOut: array<Element>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> lse: array<Statistic>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<Statistic>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<Element>; // dk and dv, [B, H, Tk, Dh] in any strides
@group(0) @binding(7) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

// Vectors of the workgroup's 64 rows, of which row 4 y + i lies at y + 16 i, or the weights of those rows for 4 rows of the tile each.
// Rows are padded to 9 vectors so that neighbouring rows lie in different banks.
var<workgroup> rowSlice: array<vec4<f32>, PARTS * 576u>;
var<workgroup> tileSlice: array<vec4<f32>, PARTS * 288u>; // row r of the tile lies at (r % 4) * 8 + r / 4

fn headStart(view: vec4<u32>, b: u32, h: u32) -> u32 {
  return view.x + b * view.y + h * view.z;
}

// Elements d to d + 3 of the row of q that starts at `row`, and zeros past the width.
fn queryVector(row: u32, d: u32) -> vec4<f32> {
  let at = row + d;
  if (FOURS) { return select(vec4<f32>(), vec4<f32>(vec4<Scalar>(q[at / 4u])), d < params.width); }
  let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(params.width);
  // The vec4() and .x let this compile where the element is a vector too.
  let x = vec4<Scalar>(q[at]).x;
  let y = vec4<Scalar>(q[at + 1u]).x;
  let z = vec4<Scalar>(q[at + 2u]).x;
  let w = vec4<Scalar>(q[at + 3u]).x;
  return select(vec4<f32>(), vec4<f32>(vec4(x, y, z, w)), inside);
}

// Elements d to d + 3 of the row of k that starts at `row`, and zeros past the width.
fn keyVector(row: u32, d: u32) -> vec4<f32> {
  let at = row + d;
  if (FOURS) { return select(vec4<f32>(), vec4<f32>(vec4<Scalar>(k[at / 4u])), d < params.width); }
  let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(params.width);
  // The vec4() and .x let this compile where the element is a vector too.
  let x = vec4<Scalar>(k[at]).x;
  let y = vec4<Scalar>(k[at + 1u]).x;
  let z = vec4<Scalar>(k[at + 2u]).x;
  let w = vec4<Scalar>(k[at + 3u]).x;
  return select(vec4<f32>(), vec4<f32>(vec4(x, y, z, w)), inside);
}

// Elements d to d + 3 of the row of v that starts at `row`, and zeros past the width.
fn valueVector(row: u32, d: u32) -> vec4<f32> {
  let at = row + d;
  if (FOURS) { return select(vec4<f32>(), vec4<f32>(vec4<Scalar>(v[at / 4u])), d < params.width); }
  let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(params.width);
  // The vec4() and .x let this compile where the element is a vector too.
  let x = vec4<Scalar>(v[at]).x;
  let y = vec4<Scalar>(v[at + 1u]).x;
  let z = vec4<Scalar>(v[at + 2u]).x;
  let w = vec4<Scalar>(v[at + 3u]).x;
  return select(vec4<f32>(), vec4<f32>(vec4(x, y, z, w)), inside);
}

// Elements d to d + 3 of the row of dOut that starts at `row`, and zeros past the width.
fn gradientVector(row: u32, d: u32) -> vec4<f32> {
  let at = row + d;
  if (FOURS) { return select(vec4<f32>(), vec4<f32>(vec4<Scalar>(dOut[at / 4u])), d < params.width); }
  let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(params.width);
  // The vec4() and .x let this compile where the element is a vector too.
  let x = vec4<Scalar>(dOut[at]).x;
  let y = vec4<Scalar>(dOut[at + 1u]).x;
  let z = vec4<Scalar>(dOut[at + 2u]).x;
  let w = vec4<Scalar>(dOut[at + 3u]).x;
  return select(vec4<f32>(), vec4<f32>(vec4(x, y, z, w)), inside);
}

fn loadKeyRows(head: u32, first: u32, c: u32, local: u32) {
  let start = head + (first + local / 8u % 16u * 4u) * params.k.w;
  var own: array<vec4<f32>, 4>; // Nothing is stored of rows past the last one.
  for (var i = 0u; i < 4u; i++) { own[i] = keyVector(start + i * params.k.w, (c * 8u + local % 8u) * 4u); }
  let rows = local / 128u % PARTS * 576u;
  for (var i = 0u; i < 4u; i++) { rowSlice[rows + (local / 8u % 16u + 16u * i) * 9u + local % 8u] = own[i]; }
}

fn loadValueRows(head: u32, first: u32, c: u32, local: u32) {
  let start = head + (first + local / 8u % 16u * 4u) * params.v.w;
  var own: array<vec4<f32>, 4>; // Nothing is stored of rows past the last one.
  for (var i = 0u; i < 4u; i++) { own[i] = valueVector(start + i * params.v.w, (c * 8u + local % 8u) * 4u); }
  let rows = local / 128u % PARTS * 576u;
  for (var i = 0u; i < 4u; i++) { rowSlice[rows + (local / 8u % 16u + 16u * i) * 9u + local % 8u] = own[i]; }
}

fn loadQueryTile(head: u32, first: u32, c: u32, local: u32) {
  let row = first + local / 8u % 16u;
  let start = head + row * params.q.w;
  var own: array<vec4<f32>, 2>;
  for (var i = 0u; i < 2u; i++) {
    let loaded = queryVector(start + 16u * i * params.q.w, (c * 8u + local % 8u) * 4u);
    // Rows past the last one are 0, since a weight of 0 would make NaN of an infinity left there.
    own[i] = select(vec4<f32>(), loaded, row + 16u * i < params.queries);
  }
  let tile = local / 128u % PARTS * 288u;
  for (var i = 0u; i < 2u; i++) { tileSlice[tile + (local / 8u % 4u * 8u + local / 32u % 4u + 4u * i) * 9u + local % 8u] = own[i]; }
}

fn loadGradientTile(head: u32, first: u32, c: u32, local: u32) {
  let row = first + local / 8u % 16u;
  let start = head + row * params.dOut.w;
  var own: array<vec4<f32>, 2>;
  for (var i = 0u; i < 2u; i++) {
    let loaded = gradientVector(start + 16u * i * params.dOut.w, (c * 8u + local % 8u) * 4u);
    // Rows past the last one are 0, since a weight of 0 would make NaN of an infinity left there.
    own[i] = select(vec4<f32>(), loaded, row + 16u * i < params.queries);
  }
  let tile = local / 128u % PARTS * 288u;
  for (var i = 0u; i < 2u; i++) { tileSlice[tile + (local / 8u % 4u * 8u + local / 32u % 4u + 4u * i) * 9u + local % 8u] = own[i]; }
}

// A vector for each of a thread's 4 rows (4 ty + i), such as their products with 4 rows of the tile (4 tx + j).
struct Block { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

// sum + a · b as a chain of multiply-adds, of which a GPU does each in one instruction.
fn dotOnto(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  return (((sum + a.x * b.x) + a.y * b.y) + a.z * b.z) + a.w * b.w;
}

// Adds the products of a thread's 4 rows with 4 rows of the tile, over the first `vectors` of the slice.
fn products(sum: Block, local: u32, vectors: u32) -> Block {
  // Indices that compilers know to lie inside need no checks.
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  let rows = local / 128u % PARTS * 576u;
  let tile = local / 128u % PARTS * 288u;
  var s = Block();
  if (SLICES <= 2u) { s = sum; }
  for (var d = 0u; d < 8u; d++) {
    if (d >= vectors) { break; }
    let inTile = tile + tx * 9u + d;
    let inRows = rows + ty * 9u + d;
    let b0 = tileSlice[inTile];
    let b1 = tileSlice[inTile + 72u];
    let b2 = tileSlice[inTile + 144u];
    let b3 = tileSlice[inTile + 216u];
    var a = rowSlice[inRows];
    s.r0 = vec4(dotOnto(s.r0.x, a, b0), dotOnto(s.r0.y, a, b1), dotOnto(s.r0.z, a, b2), dotOnto(s.r0.w, a, b3));
    a = rowSlice[inRows + 144u];
    s.r1 = vec4(dotOnto(s.r1.x, a, b0), dotOnto(s.r1.y, a, b1), dotOnto(s.r1.z, a, b2), dotOnto(s.r1.w, a, b3));
    a = rowSlice[inRows + 288u];
    s.r2 = vec4(dotOnto(s.r2.x, a, b0), dotOnto(s.r2.y, a, b1), dotOnto(s.r2.z, a, b2), dotOnto(s.r2.w, a, b3));
    a = rowSlice[inRows + 432u];
    s.r3 = vec4(dotOnto(s.r3.x, a, b0), dotOnto(s.r3.y, a, b1), dotOnto(s.r3.z, a, b2), dotOnto(s.r3.w, a, b3));
  }
  if (SLICES <= 2u) { return s; }
  // In wider rows the sum of a slice is a chain of its own, so that rounding errors hardly grow with the width.
  return added(sum, s);
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

// The factors of the probabilities of four queries, `row` of [B, H, Tq], and a key.
fn keptQueries(row: vec4<u32>, key: u32, stream: u32) -> vec4<f32> {
  var factors: vec4<f32>;
  for (var i = 0u; i < 4u; i++) { factors[i] = kept(row[i], key / 4u, stream)[key % 4u]; }
  return factors;
}

// The lowest position of `count` queries from `first` on.
fn leastPosition(first: u32, count: u32) -> u32 {
  let position = positionOf(first);
  return select(position, 0u, GROUPED && position + count > params.period);
}

// Whether none of `count` queries from `query` on sees the key `first` or a later one.
fn skipsQueries(query: u32, count: u32, first: u32) -> bool {
  if (!CAUSAL) { return false; }
  let period = select(params.queries, params.period, GROUPED);
  return min(positionOf(query) + count, period) <= first;
}

// Which of four queries a causal mask lets see a key.
fn seenByFour(query: vec4<u32>, key: u32, inside: vec4<bool>) -> vec4<bool> {
  if (!CAUSAL) { return inside; }
  return inside & (vec4(key) <= vec4(positionOf(query.x), positionOf(query.y), positionOf(query.z), positionOf(query.w)));
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

// sum + weight * value, and sum where the weight is -0, since values that are hidden may be NaN.
fn shownFour(sum: vec4<f32>, weight: f32, value: vec4<f32>) -> vec4<f32> {
  return select(sum + weight * value, sum, bitcast<u32>(weight) == 0x80000000u);
}

// Weights of which those that are hidden become -0, which marks them, and no other is.
fn markedFour(weight: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
  let unmarked = select(weight, vec4<f32>(), weight == vec4<f32>());
  var hidden = vec4(0x80000000u); // A variable, because compilers take a constant -0 for 0.
  return select(bitcast<vec4<f32>>(hidden), unmarked, seen);
}

// The product of weights and tile for vector tx of a thread's 4 rows. Only the first 4 * `groups` rows of the tile count.
fn weighted(local: u32, groups: u32) -> Block {
  // Indices that compilers know to lie inside need no checks.
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  let rows = local / 128u % PARTS * 576u;
  let tile = local / 128u % PARTS * 288u;
  var s = Block();
  for (var g = 0u; g < 8u; g++) {
    if (g >= groups) { break; }
    let inTile = tile + tx + g * 9u;
    let inRows = rows + ty * 9u + g;
    let b0 = tileSlice[inTile];
    let b1 = tileSlice[inTile + 72u];
    let b2 = tileSlice[inTile + 144u];
    let b3 = tileSlice[inTile + 216u];
    var w = rowSlice[inRows];
    s.r0 = (((s.r0 + w.x * b0) + w.y * b1) + w.z * b2) + w.w * b3;
    w = rowSlice[inRows + 144u];
    s.r1 = (((s.r1 + w.x * b0) + w.y * b1) + w.z * b2) + w.w * b3;
    w = rowSlice[inRows + 288u];
    s.r2 = (((s.r2 + w.x * b0) + w.y * b1) + w.z * b2) + w.w * b3;
    w = rowSlice[inRows + 432u];
    s.r3 = (((s.r3 + w.x * b0) + w.y * b1) + w.z * b2) + w.w * b3;
  }
  return s;
}

// The same where weights may be hidden: the product of weights and tile for vector tx of a thread's 4 rows.
fn weightedShown(local: u32, groups: u32) -> Block {
  // Indices that compilers know to lie inside need no checks.
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  let rows = local / 128u % PARTS * 576u;
  let tile = local / 128u % PARTS * 288u;
  var s = Block();
  for (var g = 0u; g < 8u; g++) {
    if (g >= groups) { break; }
    let inTile = tile + tx + g * 9u;
    let inRows = rows + ty * 9u + g;
    let b0 = tileSlice[inTile];
    let b1 = tileSlice[inTile + 72u];
    let b2 = tileSlice[inTile + 144u];
    let b3 = tileSlice[inTile + 216u];
    var w = rowSlice[inRows];
    s.r0 = shownFour(shownFour(shownFour(shownFour(s.r0, w.x, b0), w.y, b1), w.z, b2), w.w, b3);
    w = rowSlice[inRows + 144u];
    s.r1 = shownFour(shownFour(shownFour(shownFour(s.r1, w.x, b0), w.y, b1), w.z, b2), w.w, b3);
    w = rowSlice[inRows + 288u];
    s.r2 = shownFour(shownFour(shownFour(shownFour(s.r2, w.x, b0), w.y, b1), w.z, b2), w.w, b3);
    w = rowSlice[inRows + 432u];
    s.r3 = shownFour(shownFour(shownFour(shownFour(s.r3, w.x, b0), w.y, b1), w.z, b2), w.w, b3);
  }
  return s;
}

// Stores vector tx of a thread's 4 rows in workgroup memory.
fn setRows(s: Block, local: u32) {
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  let rows = local / 128u % PARTS * 576u;
  rowSlice[rows + ty * 9u + tx] = s.r0;
  rowSlice[rows + (ty + 16u) * 9u + tx] = s.r1;
  rowSlice[rows + (ty + 32u) * 9u + tx] = s.r2;
  rowSlice[rows + (ty + 48u) * 9u + tx] = s.r3;
}

// Adds up blocks of the workgroup's parts. The first one gets the sum.
fn sumOfParts(own: Block, local: u32) -> Block {
  if (PARTS == 1u) { return own; }
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  workgroupBarrier();
  setRows(own, local);
  workgroupBarrier();
  var s = own;
  for (var i = 1u; i < PARTS; i++) {
    let rows = i * 576u;
    s.r0 += rowSlice[rows + ty * 9u + tx];
    s.r1 += rowSlice[rows + (ty + 16u) * 9u + tx];
    s.r2 += rowSlice[rows + (ty + 32u) * 9u + tx];
    s.r3 += rowSlice[rows + (ty + 48u) * 9u + tx];
  }
  return s;
}

// Stores elements d to d + 3 of the row of dk or dv that starts at `row`, as far as they lie in it.
fn storeGradient(row: u32, d: u32, v: vec4<f32>) {
  for (var s = 0u; s < STORES; s++) {
    if (d + s < params.width) { dkv[(row + d + s) / (4u / STORES)] = Four(vec4<Scalar>(v))[s]; }
  }
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

// The compensated sums of a thread's 4 rows.
struct CompensatedBlock { sum: Block, excess: Block }

fn foldBlock(total: Block, excess: Block, part: Block, zero: u32) -> CompensatedBlock {
  let r0 = fold(Compensated(total.r0, excess.r0), part.r0, zero);
  let r1 = fold(Compensated(total.r1, excess.r1), part.r1, zero);
  let r2 = fold(Compensated(total.r2, excess.r2), part.r2, zero);
  let r3 = fold(Compensated(total.r3, excess.r3), part.r3, zero);
  return CompensatedBlock(Block(r0.sum, r1.sum, r2.sum, r3.sum), Block(r0.excess, r1.excess, r2.excess, r3.excess));
}

fn added(a: Block, b: Block) -> Block {
  return Block(a.r0 + b.r0, a.r1 + b.r1, a.r2 + b.r2, a.r3 + b.r3);
}

fn difference(a: Block, b: Block) -> Block {
  return Block(a.r0 - b.r0, a.r1 - b.r1, a.r2 - b.r2, a.r3 - b.r3);
}

// The log-sum-exps of four queries, which lie at `at`.
fn logSumsOf(at: vec4<u32>) -> vec4<f32> {
  // The vec4() and .x let this compile where the element is a vector too.
  if (STATISTICS_FOURS) { return vec4<f32>(lse[at.x / 4u]); }
  return vec4(vec4<f32>(lse[at.x]).x, vec4<f32>(lse[at.y]).x, vec4<f32>(lse[at.z]).x, vec4<f32>(lse[at.w]).x);
}

// The deltas of four queries, which lie at `at`.
fn deltasOf(at: vec4<u32>) -> vec4<f32> {
  if (STATISTICS_FOURS) { return vec4<f32>(delta[at.x / 4u]); }
  return vec4(vec4<f32>(delta[at.x]).x, vec4<f32>(delta[at.y]).x, vec4<f32>(delta[at.z]).x, vec4<f32>(delta[at.w]).x);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.keys + 63u) / 64u;
  if (group >= blocks * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let first = group % blocks * 64u;
  let tx = local % 8u;
  let ty = local / 8u % 16u;
  let vectors = (params.width + 3u) / 4u;
  // Where tiles hide, loops over slices stay loops: written out they take 48 registers more (RDNA 3).
  let slices = select(SLICES, (vectors + 7u) / 8u, HIDES);
  let qHead = own.x + headStart(params.q, b, h);
  let kHead = own.y + headStart(params.k, b, h);
  let vHead = own.z + headStart(params.v, b, h);
  let dOutHead = own.w + headStart(params.dOut, b, h);
  let scale = params.scale * LOG2E;

  var dk: array<Block, SLICES>;
  var dv: array<Block, SLICES>;
  var dkExcess: array<Block, LONG_SLICES>;
  var dvExcess: array<Block, LONG_SLICES>;
  let zero = params.width >> 31u; // 0, which compilers do not know
  let stream = params.streamLow + wid.z * params.streamStep;
  let key = first + 4u * ty + vec4(0u, 1u, 2u, 3u);
  for (var base = 0u; base < params.queries; base += 32u * PARTS) {
    if (skipsQueries(base, 32u * PARTS, first)) { continue; }
    let j = base + 32u * (local / 128u % PARTS);
    // Of a thread without keys, or whose keys none of these queries sees, nothing is read.
    let idle = key.x >= params.keys || (PARTS > 1u && j >= params.queries) || (CAUSAL && !GROUPED && j + 31u < key.x);
    var s = Block();
    for (var c = 0u; c * 8u < vectors; c++) {
      workgroupBarrier();
      loadKeyRows(kHead, first, c, local);
      loadQueryTile(qHead, j, c, local);
      workgroupBarrier();
      if (!idle) { s = products(s, local, min(8u, vectors - c * 8u)); }
    }
    var p = Block();
    for (var c = 0u; c * 8u < vectors; c++) {
      workgroupBarrier();
      loadValueRows(vHead, first, c, local);
      loadGradientTile(dOutHead, j, c, local);
      workgroupBarrier();
      if (!idle) { p = products(p, local, min(8u, vectors - c * 8u)); }
    }
    let query = j + 4u * tx + vec4(0u, 1u, 2u, 3u);
    let inside = query < vec4(params.queries);
    let at = head * params.queries + min(query, vec4(params.queries - 1u));
    let logSum = logSumsOf(rest.x + at) * LOG2E;
    let sum = deltasOf(rest.y + at);
    // The test is of the bits because 2^NaN is not NaN on every driver, and compilers may assume that there is no NaN.
    let isNaN = (bitcast<vec4<u32>>(logSum) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    s = Block(s.r0 * scale, s.r1 * scale, s.r2 * scale, s.r3 * scale);
    // Of other tiles every query sees all keys.
    let guarded = MASK != 0u || (CAUSAL && leastPosition(j, 32u) + 1u < first + 64u);
    var seen = array<vec4<bool>, 4>(inside, inside, inside, inside);
    if (guarded) {
      var start: vec4<u32>;
      for (var i = 0u; i < 4u && MASK != 0u; i++) { start[i] = rest.w + maskStart(b, h, min(query[i], params.queries - 1u)); }
      let step = min(key, vec4(params.keys - 1u)) * params.maskStep;
      let four0 = maskedFour(s.r0, seenByFour(query, key.x, inside), start + step.x);
      s.r0 = four0.score;
      seen[0] = four0.seen;
      let four1 = maskedFour(s.r1, seenByFour(query, key.y, inside), start + step.y);
      s.r1 = four1.score;
      seen[1] = four1.seen;
      let four2 = maskedFour(s.r2, seenByFour(query, key.z, inside), start + step.z);
      s.r2 = four2.score;
      seen[2] = four2.seen;
      let four3 = maskedFour(s.r3, seenByFour(query, key.w, inside), start + step.w);
      s.r3 = four3.score;
      seen[3] = four3.seen;
    }
    s.r0 = select(vec4<f32>(), select(exp2(s.r0 - logSum), logSum, isNaN), seen[0]);
    s.r1 = select(vec4<f32>(), select(exp2(s.r1 - logSum), logSum, isNaN), seen[1]);
    s.r2 = select(vec4<f32>(), select(exp2(s.r2 - logSum), logSum, isNaN), seen[2]);
    s.r3 = select(vec4<f32>(), select(exp2(s.r3 - logSum), logSum, isNaN), seen[3]);
    var left = s; // what dropout leaves of the probabilities
    if (DROPOUT) {
      let z0 = keptQueries(at, key.x, stream);
      left.r0 *= z0;
      p.r0 *= z0;
      let z1 = keptQueries(at, key.y, stream);
      left.r1 *= z1;
      p.r1 *= z1;
      let z2 = keptQueries(at, key.z, stream);
      left.r2 *= z2;
      p.r2 *= z2;
      let z3 = keptQueries(at, key.w, stream);
      left.r3 *= z3;
      p.r3 *= z3;
    }
    s = Block(s.r0 * (p.r0 - sum), s.r1 * (p.r1 - sum), s.r2 * (p.r2 - sum), s.r3 * (p.r3 - sum));
    if (guarded) {
      left.r0 = markedFour(left.r0, seen[0]);
      left.r1 = markedFour(left.r1, seen[1]);
      left.r2 = markedFour(left.r2, seen[2]);
      left.r3 = markedFour(left.r3, seen[3]);
      s.r0 = markedFour(s.r0, seen[0]);
      s.r1 = markedFour(s.r1, seen[1]);
      s.r2 = markedFour(s.r2, seen[2]);
      s.r3 = markedFour(s.r3, seen[3]);
    }
    let rows = min(8u, (params.queries - j + 3u) / 4u);
    workgroupBarrier();
    setRows(left, local);
    for (var c = 0u; c < slices; c++) {
      workgroupBarrier();
      loadGradientTile(dOutHead, j, c, local);
      workgroupBarrier();
      var part: Block;
      if (idle) {
        part = Block();
      } else if (guarded) {
        part = weightedShown(local, rows);
      } else {
        part = weighted(local, rows);
      }
      if (LONG) {
        let folded = foldBlock(dv[c], dvExcess[c], part, zero);
        dv[c] = folded.sum;
        dvExcess[c] = folded.excess;
      } else {
        dv[c] = added(dv[c], part);
      }
    }
    workgroupBarrier();
    setRows(s, local);
    for (var c = 0u; c < slices; c++) {
      workgroupBarrier();
      loadQueryTile(qHead, j, c, local);
      workgroupBarrier();
      var part: Block;
      if (idle) {
        part = Block();
      } else if (guarded) {
        part = weightedShown(local, rows);
      } else {
        part = weighted(local, rows);
      }
      if (LONG) {
        let folded = foldBlock(dk[c], dkExcess[c], part, zero);
        dk[c] = folded.sum;
        dkExcess[c] = folded.excess;
      } else {
        dk[c] = added(dk[c], part);
      }
    }
  }
  if (LONG) {
    for (var c = 0u; c < SLICES; c++) {
      dk[c] = difference(dk[c], dkExcess[c]);
      dv[c] = difference(dv[c], dvExcess[c]);
    }
  }

  for (var c = 0u; c < SLICES; c++) {
    dk[c] = sumOfParts(dk[c], local);
    dv[c] = sumOfParts(dv[c], local);
  }
  if (local >= 128u) { return; }
  let dkHead = rest.z + headStart(params.dk, b, h);
  let dvHead = rest.z + headStart(params.dv, b, h);
  for (var c = 0u; c < SLICES; c++) {
    let d = (c * 8u + tx) * 4u;
    if (key.x < params.keys) {
      storeGradient(dkHead + key.x * params.dk.w, d, dk[c].r0 * params.scale);
      storeGradient(dvHead + key.x * params.dv.w, d, dv[c].r0);
    }
    if (key.y < params.keys) {
      storeGradient(dkHead + key.y * params.dk.w, d, dk[c].r1 * params.scale);
      storeGradient(dvHead + key.y * params.dv.w, d, dv[c].r1);
    }
    if (key.z < params.keys) {
      storeGradient(dkHead + key.z * params.dk.w, d, dk[c].r2 * params.scale);
      storeGradient(dvHead + key.z * params.dv.w, d, dv[c].r2);
    }
    if (key.w < params.keys) {
      storeGradient(dkHead + key.w * params.dk.w, d, dk[c].r3 * params.scale);
      storeGradient(dvHead + key.w * params.dv.w, d, dv[c].r3);
    }
  }
}
