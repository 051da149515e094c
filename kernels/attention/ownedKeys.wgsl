// Attention (2205.14135) for devices that gather private arrays lane by lane unless an index is a constant (SwiftShader), where rows lie in
// aligned fours. Such a device is as fast as it decodes the code of a turn, which no cache of decoded code holds: 20 bytes a product, 100 for
// a sum that stays in a private array, 2,500 to load a four and to store one. So lanes own keys of a block and their values, and all lanes pass
// over the queries together: scores and a block's part of an output are sums that no array holds. The blocks of keys of a head follow each
// other. Each scales the outputs in memory and adds to them, so that they are normalized, and all that it must know of those before is in
// `progress`.
//
// A load of a query brings another four to each lane, and swaps hand them round: with e the number of a lane, places 16 i + 4 s to
// 16 i + 4 s + 3 of its arrays hold the four of number 4 i + (s ^ e), so all lanes use the same places. Loops over the width are written out,
// so that these places are constants, and numbers of several rows are dot products and not products of vectors, whose elements spill.
enable subgroups;

// A lane owns SETS sets of four rows.
const SETS: u32 = 2u;
const ROWS: u32 = 4u * SETS;
// The workgroup size, which is the size of all subgroups.
const LANES: u32 = 4u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
// The queries of a workgroup.
const QUERIES: u32 = 256u;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, period: u32, threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [B, H, Tq, Dh] in strides of fours
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>; // [B, H, Tk, Dh] in strides of fours
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>; // [B, H, Tk, Dh] in strides of fours
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [B, H, Tq, Dh] in strides of fours
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> mask: array<u32>; // unused
@group(1) @binding(0) var<uniform> params: Params;

// The keys, scaled, by fours of a row, and 0 past the width.
var<private> keyFours: array<vec4<f32>, ROWS * WIDTH / 4u>;
// The values, by sets.
var<private> values: array<vec4<f32>, SETS * WIDTH>;
// Of each query the highest score so far and the sum of exponentials, which are relative to it.
var<private> progress: array<vec2<f32>, QUERIES>;

// A number for each of a lane's rows; those past SETS are not used.
struct OwnSets { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }

// The index of the first element of a row of a head.
fn startOfRow(view: vec4<u32>, b: u32, h: u32, row: u32) -> u32 {
  return view.x + b * view.y + h * view.z + row * view.w;
}

// Whether there is a four of a row.
fn hasFour(four: u32) -> bool {
  return !PADDED || 4u * four < params.width;
}

// Loads key number n of a lane and its value.
fn loadOwnKey(n: u32, kAt: u32, vAt: u32, room: u32, e: u32) {
  for (var place = 0u; place < room; place += 4u) {
    let four = (place / 4u) ^ e;
    let there = hasFour(four);
    let at = select(0u, four, there);
    keyFours[place / 4u * ROWS + n] = select(vec4<f32>(), k[kAt / 4u + at] * (params.scale * LOG2E), there);
    let value = v[vAt / 4u + at];
    for (var i = 0u; i < 4u; i++) { values[(place + i) * SETS + n / 4u][n % 4u] = value[i]; }
  }
}

fn keyProducts(w: vec4<f32>, at: u32) -> vec4<f32> {
  return vec4(dot(w, keyFours[at]), dot(w, keyFours[at + 1u]), dot(w, keyFours[at + 2u]), dot(w, keyFours[at + 3u]));
}

// The sums and the products of a four of a query with those of all keys of a lane.
fn plusQueryFour(sum: OwnSets, four: u32, w: vec4<f32>) -> OwnSets {
  let at = four * ROWS;
  let a = sum.a + keyProducts(w, at);
  if (SETS == 1u) { return OwnSets(a, sum.b, sum.c, sum.d); }
  let b = sum.b + keyProducts(w, at + 4u);
  if (SETS == 2u) { return OwnSets(a, b, sum.c, sum.d); }
  let c = sum.c + keyProducts(w, at + 8u);
  if (SETS == 3u) { return OwnSets(a, b, c, sum.d); }
  return OwnSets(a, b, c, sum.d + keyProducts(w, at + 12u));
}

fn plusQuery16(sum: OwnSets, c: u32, at: u32, e: u32) -> OwnSets {
  let number = c / 4u + e;
  let w = select(vec4<f32>(), q[at / 4u + select(0u, number, hasFour(number))], hasFour(number)); // not infinity times 0
  let half = plusQueryFour(plusQueryFour(sum, c / 4u, w), c / 4u + 1u, quadSwapX(w));
  return plusQueryFour(plusQueryFour(half, c / 4u + 2u, quadSwapY(w)), c / 4u + 3u, quadSwapDiagonal(w));
}

// The scores of the query that begins at `at` with the keys of a lane.
fn ownKeyScores(at: u32, e: u32) -> OwnSets {
  var sum = plusQuery16(OwnSets(), 0u, at, e);
  if (WIDTH > 16u) { sum = plusQuery16(sum, 16u, at, e); }
  if (WIDTH > 32u) { sum = plusQuery16(sum, 32u, at, e); }
  if (WIDTH > 48u) { sum = plusQuery16(sum, 48u, at, e); }
  if (WIDTH > 64u) { sum = plusQuery16(sum, 64u, at, e); }
  if (WIDTH > 80u) { sum = plusQuery16(sum, 80u, at, e); }
  if (WIDTH > 96u) { sum = plusQuery16(sum, 96u, at, e); }
  if (WIDTH > 112u) { sum = plusQuery16(sum, 112u, at, e); }
  return sum;
}

// A lane's own part of an output, at place c.
fn outPart(p: OwnSets, c: u32) -> f32 {
  let at = c * SETS;
  let a = dot(p.a, values[at]);
  if (SETS == 1u) { return a; }
  let b = a + dot(p.b, values[at + 1u]);
  if (SETS == 2u) { return b; }
  let c3 = b + dot(p.c, values[at + 2u]);
  if (SETS == 3u) { return c3; }
  return c3 + dot(p.d, values[at + 3u]);
}

// The sum of all lanes' parts, of another element in each lane.
fn outElement(p: OwnSets, c: u32) -> f32 {
  let half = outPart(p, c) + quadSwapX(outPart(p, c + 4u));
  return (half + quadSwapY(outPart(p, c + 8u))) + quadSwapDiagonal(outPart(p, c + 12u));
}

// Four elements in each lane, of sixteen that begin at place c.
fn outFours(p: OwnSets, c: u32) -> vec4<f32> {
  return vec4(outElement(p, c), outElement(p, c + 1u), outElement(p, c + 2u), outElement(p, c + 3u));
}

// Adds to sixteen elements of an output times a factor, unless these are the first keys.
fn addOut16(p: OwnSets, c: u32, at: u32, e: u32, factor: f32, begun: bool) {
  let number = c / 4u + e;
  let sum = outFours(p, c);
  if (hasFour(number)) { out[at / 4u + number] = select(vec4<f32>(), out[at / 4u + number] * factor, begun) + sum; }
}

fn addOut(p: OwnSets, at: u32, e: u32, factor: f32, begun: bool) {
  addOut16(p, 0u, at, e, factor, begun);
  if (WIDTH > 16u) { addOut16(p, 16u, at, e, factor, begun); }
  if (WIDTH > 32u) { addOut16(p, 32u, at, e, factor, begun); }
  if (WIDTH > 48u) { addOut16(p, 48u, at, e, factor, begun); }
  if (WIDTH > 64u) { addOut16(p, 64u, at, e, factor, begun); }
  if (WIDTH > 80u) { addOut16(p, 80u, at, e, factor, begun); }
  if (WIDTH > 96u) { addOut16(p, 96u, at, e, factor, begun); }
  if (WIDTH > 112u) { addOut16(p, 112u, at, e, factor, begun); }
}

fn highestOf4(s: vec4<f32>) -> f32 {
  return max(max(s.x, s.y), max(s.z, s.w));
}

// The highest score of a lane's keys.
fn highestOf(s: OwnSets) -> f32 {
  let a = highestOf4(s.a);
  if (SETS == 1u) { return a; }
  let b = max(a, highestOf4(s.b));
  if (SETS == 2u) { return b; }
  let c = max(b, highestOf4(s.c));
  if (SETS == 3u) { return c; }
  return max(c, highestOf4(s.d));
}

// The exponentials of a lane's scores.
fn weightsOf(s: OwnSets, top: f32) -> OwnSets {
  let a = exp2(s.a - top);
  if (SETS == 1u) { return OwnSets(a, s.b, s.c, s.d); }
  let b = exp2(s.b - top);
  if (SETS == 2u) { return OwnSets(a, b, s.c, s.d); }
  let c = exp2(s.c - top);
  if (SETS == 3u) { return OwnSets(a, b, c, s.d); }
  return OwnSets(a, b, c, exp2(s.d - top));
}

fn sumOfSets(p: OwnSets) -> f32 {
  let ones = vec4(1.0);
  let a = dot(p.a, ones);
  if (SETS == 1u) { return a; }
  let b = a + dot(p.b, ones);
  if (SETS == 2u) { return b; }
  let c = b + dot(p.c, ones);
  if (SETS == 3u) { return c; }
  return c + dot(p.d, ones);
}

// The lowest score for each of four keys that are not there, else 0.
fn missing(first: u32) -> vec4<f32> {
  return select(vec4(LOWEST), vec4<f32>(), vec4(first) + LANES * vec4(0u, 1u, 2u, 3u) < vec4(params.keys));
}

// A number, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity alone. The
// test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn finiteOrNaN(number: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(number, bitcast<f32>(nan), bitcast<u32>(sum) - 1u >= 0x7f7fffffu);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let parts = (params.queries + QUERIES - 1u) / QUERIES;
  if (group >= parts * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let head = group / parts;
  let b = head / params.heads;
  let h = head % params.heads;
  let e = lane & 3u;
  let q0 = own.x + startOfRow(params.q, b, h, 0u);
  let out0 = own.w + startOfRow(params.out, b, h, 0u);
  let lse0 = wid.z * params.strides[1].x + head * params.queries;
  let begin = group % parts * QUERIES;
  let end = min(begin + QUERIES, params.queries);
  // This is WIDTH, but only known at run time, so that drivers do not unroll the loop, which costs seconds of compilation.
  let room = min(WIDTH, (params.width + 15u) / 16u * 16u);
  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  for (var key = 0u; key < params.keys; key += LANES * ROWS) {
    for (var n = 0u; n < ROWS; n++) {
      let row = min(key + local + LANES * n, params.keys - 1u);
      loadOwnKey(n, own.y + startOfRow(params.k, b, h, row), own.z + startOfRow(params.v, b, h, row), room, e);
    }
    let first = key + local;
    let there = OwnSets(missing(first), missing(first + 4u * LANES), missing(first + 8u * LANES), missing(first + 12u * LANES));
    let begun = key > 0u;
    let ends = key + LANES * ROWS >= params.keys;
    for (var i = begin; i < end; i++) {
      let before = select(vec2(LOWEST, 0.0), progress[i - begin], begun);
      let found = ownKeyScores(q0 + i * params.q.w, e);
      let s = OwnSets(found.a + there.a, found.b + there.b, found.c + there.c, found.d + there.d);
      let own = highestOf(s);
      let two = max(own, quadSwapX(own));
      let top = max(max(two, quadSwapY(two)), before.x);
      let weights = weightsOf(s, top);
      let ownSum = sumOfSets(weights);
      let twoSums = ownSum + quadSwapX(ownSum);
      let rest = before.y * exp2(before.x - top);
      let total = twoSums + quadSwapY(twoSums) + rest;
      // Where all keys so far have a score of -infinity, others may follow.
      let inverse = select(1.0 / total, 0.0, total == 0.0 && !ends);
      let p = OwnSets(weights.a * inverse, weights.b * inverse, weights.c * inverse, weights.d * inverse);
      progress[i - begin] = vec2(top, total);
      if (ends) { lse[lse0 + i] = finiteOrNaN((top + log2(total)) * LN2, total); }
      if (always) { addOut(p, out0 + i * params.out.w, e, rest * inverse, begun); }
    }
  }
}
