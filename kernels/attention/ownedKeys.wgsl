// Attention (2205.14135) for devices that gather private arrays lane by lane unless an index is a constant (SwiftShader), where rows lie
// in aligned fours. A sum that stays in a private array costs three products there, and code that does not fit the first cache doubles
// what a product costs. So lanes own keys of a block and their values, all lanes pass over the queries together, and blocks of keys follow
// each other: scores and a block's part of an output are sums that no array holds, and the code is that of one query. The output lies in
// memory and is normalized after every block; log-sum-exps are all that a block must know of those before it.
//
// A load of a query brings another four elements to each lane of a quad, and swaps hand them round. With e the number of the lane in its
// quad, places 16 i + 4 s to 16 i + 4 s + 3 of a lane's arrays hold the four 4 i + (s ^ e), so all lanes use the same places. Loops over
// the width are written out, so that these places are constants.
enable subgroups;

// A number for each key of a lane's first and second set.
alias First = vec4<f32>;
alias Second = vec4<f32>;
const FIRST: u32 = 4u;
const SECOND: u32 = 4u; // 0 without a second set, whose numbers are then vec2 and not used
// The workgroup size, which is the size of all subgroups.
const LANES: u32 = 4u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
// The queries of a workgroup.
const QUERIES: u32 = 256u;
const LAST: u32 = max(SECOND, 2u) - 1u;
const SECOND_WIDTH: u32 = select(1u, WIDTH, SECOND > 0u);
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

var<private> x: array<First, WIDTH>; // the keys, scaled, and 0 past the width
var<private> y: array<Second, SECOND_WIDTH>;
var<private> value: array<First, WIDTH>;
var<private> valueOfSecond: array<Second, SECOND_WIDTH>;

// Numbers of a lane's keys of both sets.
struct Both { first: First, second: Second }

fn firstOf(all: vec4<f32>) -> First {
  var own: First;
  own[0] = all.x;
  own[1] = all.y;
  if (FIRST > 2u) { own[min(2u, FIRST - 1u)] = all.z; }
  if (FIRST > 3u) { own[FIRST - 1u] = all.w; }
  return own;
}

fn secondOf(all: vec4<f32>) -> Second {
  var own: Second;
  own[0] = all.x;
  own[1] = all.y;
  if (SECOND > 2u) { own[min(2u, LAST)] = all.z; }
  if (SECOND > 3u) { own[LAST] = all.w; }
  return own;
}

// The index of the first element of each of four rows of a head.
fn rowStarts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

// Whether there is a four of a row.
fn hasFour(four: u32) -> bool {
  return !PADDED || 4u * four < params.width;
}

// A four of each of four keys, as the four elements of all.
fn keyFours(at: vec4<u32>, four: u32) -> mat4x4<f32> {
  let c = at / 4u + select(0u, four, hasFour(four));
  return transpose(mat4x4(k[c.x], k[c.y], k[c.z], k[c.w]) * select(0.0, params.scale * LOG2E, hasFour(four)));
}

fn valueFours(at: vec4<u32>, four: u32) -> mat4x4<f32> {
  let c = at / 4u + select(0u, four, hasFour(four));
  return transpose(mat4x4(v[c.x], v[c.y], v[c.z], v[c.w]));
}

// Loads a lane's keys and values into four places.
fn loadBlockFour(place: u32, k0: vec4<u32>, k1: vec4<u32>, v0: vec4<u32>, v1: vec4<u32>, four: u32) {
  let keys = keyFours(k0, four);
  let values = valueFours(v0, four);
  x[place] = firstOf(keys[0]);
  x[place + 1u] = firstOf(keys[1]);
  x[place + 2u] = firstOf(keys[2]);
  x[place + 3u] = firstOf(keys[3]);
  value[place] = firstOf(values[0]);
  value[place + 1u] = firstOf(values[1]);
  value[place + 2u] = firstOf(values[2]);
  value[place + 3u] = firstOf(values[3]);
  if (SECOND == 0u) { return; }
  let moreKeys = keyFours(k1, four);
  let moreValues = valueFours(v1, four);
  y[place] = secondOf(moreKeys[0]);
  y[place + 1u] = secondOf(moreKeys[1]);
  y[place + 2u] = secondOf(moreKeys[2]);
  y[place + 3u] = secondOf(moreKeys[3]);
  valueOfSecond[place] = secondOf(moreValues[0]);
  valueOfSecond[place + 1u] = secondOf(moreValues[1]);
  valueOfSecond[place + 2u] = secondOf(moreValues[2]);
  valueOfSecond[place + 3u] = secondOf(moreValues[3]);
}

// The sums of the scores of a lane's keys and of the products at four places.
fn plusOwnFour(sum: Both, c: u32, w: vec4<f32>) -> Both {
  let first = (((sum.first + x[c] * w.x) + x[c + 1u] * w.y) + x[c + 2u] * w.z) + x[c + 3u] * w.w;
  if (SECOND == 0u) { return Both(first, sum.second); }
  return Both(first, (((sum.second + y[c] * w.x) + y[c + 1u] * w.y) + y[c + 2u] * w.z) + y[c + 3u] * w.w);
}

fn plusOwn16(sum: Both, c: u32, at: u32, e: u32) -> Both {
  let four = c / 4u + e;
  let w = q[at / 4u + select(0u, four, hasFour(four))];
  let half = plusOwnFour(plusOwnFour(sum, c, w), c + 4u, quadSwapX(w));
  return plusOwnFour(plusOwnFour(half, c + 8u, quadSwapY(w)), c + 12u, quadSwapDiagonal(w));
}

// The scores of the query that begins at `at` with a lane's keys.
fn ownScores(at: u32, e: u32) -> Both {
  var sum = plusOwn16(Both(), 0u, at, e);
  if (WIDTH > 16u) { sum = plusOwn16(sum, 16u, at, e); }
  if (WIDTH > 32u) { sum = plusOwn16(sum, 32u, at, e); }
  if (WIDTH > 48u) { sum = plusOwn16(sum, 48u, at, e); }
  if (WIDTH > 64u) { sum = plusOwn16(sum, 64u, at, e); }
  if (WIDTH > 80u) { sum = plusOwn16(sum, 80u, at, e); }
  if (WIDTH > 96u) { sum = plusOwn16(sum, 96u, at, e); }
  if (WIDTH > 112u) { sum = plusOwn16(sum, 112u, at, e); }
  return sum;
}

// The part of an output that a lane's own values have, at place c.
fn ownPart(p: Both, c: u32) -> f32 {
  if (SECOND == 0u) { return dot(p.first, value[c]); }
  return dot(p.first, value[c]) + dot(p.second, valueOfSecond[c]);
}

fn ownParts(p: Both, c: u32) -> vec4<f32> {
  return vec4(ownPart(p, c), ownPart(p, c + 1u), ownPart(p, c + 2u), ownPart(p, c + 3u));
}

// Adds to sixteen elements of an output times a factor, of which each lane has another four, unless these are the first keys.
fn addOut16(p: Both, c: u32, at: u32, e: u32, factor: f32, begun: bool) {
  let four = c / 4u + e;
  let sum = (ownParts(p, c) + quadSwapX(ownParts(p, c + 4u))) + (quadSwapY(ownParts(p, c + 8u)) + quadSwapDiagonal(ownParts(p, c + 12u)));
  if (hasFour(four)) { out[at / 4u + four] = select(vec4<f32>(), out[at / 4u + four] * factor, begun) + sum; }
}

fn addOut(p: Both, at: u32, e: u32, factor: f32, begun: bool) {
  addOut16(p, 0u, at, e, factor, begun);
  if (WIDTH > 16u) { addOut16(p, 16u, at, e, factor, begun); }
  if (WIDTH > 32u) { addOut16(p, 32u, at, e, factor, begun); }
  if (WIDTH > 48u) { addOut16(p, 48u, at, e, factor, begun); }
  if (WIDTH > 64u) { addOut16(p, 64u, at, e, factor, begun); }
  if (WIDTH > 80u) { addOut16(p, 80u, at, e, factor, begun); }
  if (WIDTH > 96u) { addOut16(p, 96u, at, e, factor, begun); }
  if (WIDTH > 112u) { addOut16(p, 112u, at, e, factor, begun); }
}

// The highest number of a lane's keys.
fn highestOwn(s: Both) -> f32 {
  var all = max(s.first.xy, vec2(s.first[FIRST - 2u], s.first[FIRST - 1u]));
  if (SECOND > 0u) { all = max(all, max(s.second.xy, vec2(s.second[LAST - 1u], s.second[LAST]))); }
  return max(all.x, all.y);
}

fn sumOfOwn(p: Both) -> f32 {
  let first = dot(p.first, First(1.0));
  if (SECOND == 0u) { return first; }
  return first + dot(p.second, Second(1.0));
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
  const BLOCK = LANES * (FIRST + SECOND);
  let group = wid.y * groups.x + wid.x;
  let parts = (params.queries + QUERIES - 1u) / QUERIES;
  if (group >= parts * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let b = group / parts / params.heads;
  let h = group / parts % params.heads;
  let e = lane & 3u;
  let q0 = own.x + params.q.x + b * params.q.y + h * params.q.z;
  let out0 = own.w + params.out.x + b * params.out.y + h * params.out.z;
  let lse0 = wid.z * params.strides[1].x + group / parts * params.queries;
  let begin = group % parts * QUERIES;
  let end = min(begin + QUERIES, params.queries);
  // This is WIDTH, but only known at run time, so that drivers do not unroll the loop, which costs seconds of compilation.
  let room = min(WIDTH, (params.width + 15u) & 0xfffffff0u);
  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  for (var key = 0u; key < params.keys; key += BLOCK) {
    let row = key + local + LANES * vec4(0u, 1u, 2u, 3u); // of which the first FIRST count
    let next = row + LANES * FIRST; // of which the first SECOND count
    let lastKey = vec4(params.keys - 1u);
    let k0 = own.y + rowStarts(params.k, b, h, min(row, lastKey));
    let k1 = own.y + rowStarts(params.k, b, h, min(next, lastKey));
    let v0 = own.z + rowStarts(params.v, b, h, min(row, lastKey));
    let v1 = own.z + rowStarts(params.v, b, h, min(next, lastKey));
    for (var place = 0u; place < room; place += 4u) { loadBlockFour(place, k0, k1, v0, v1, (place / 4u) ^ e); }
    // Scores of keys past the last one are far below all others.
    let there = Both(
      firstOf(select(vec4(LOWEST), vec4<f32>(), row <= lastKey)), secondOf(select(vec4(LOWEST), vec4<f32>(), next <= lastKey)),
    );
    let begun = key > 0u;
    let ends = key + BLOCK >= params.keys;
    for (var i = begin; i < end; i++) {
      let before = select(LOWEST, lse[lse0 + i], begun);
      let score = ownScores(q0 + i * params.q.w, e);
      let s = Both(score.first + there.first, score.second + there.second);
      let two = max(highestOwn(s), quadSwapX(highestOwn(s)));
      let top = max(max(two, quadSwapY(two)), before);
      let weight = Both(exp2(s.first - top), exp2(s.second - top));
      let half = sumOfOwn(weight) + quadSwapX(sumOfOwn(weight));
      let rest = select(0.0, exp2(before - top), begun);
      let total = half + quadSwapY(half) + rest;
      let logarithm = top + log2(total);
      let inverse = 1.0 / total;
      let p = Both(weight.first * inverse, weight.second * inverse);
      lse[lse0 + i] = select(logarithm, finiteOrNaN(logarithm * LN2, total), ends);
      if (always) { addOut(p, out0 + i * params.out.w, e, rest * inverse, begun); }
    }
  }
}
