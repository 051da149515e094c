// Attention (2205.14135, with the online softmax of 1805.02867) for software devices, where rows lie in aligned fours. Loading an element
// costs as much there as three multiply-adds, and a value of another lane hardly more than one of its own. A lane owns up to eight query
// rows, in two sets, and holds them and their sums in private memory. The lanes load a row of K or V together, four elements each, and
// broadcasts hand it round. Loops over the width are written out, so that places in private memory are constants.
enable subgroups;

// A number for each query row of a lane's first and second set.
alias First = vec4<f32>;
alias Second = vec4<f32>;
const FIRST: u32 = 4u;
const SECOND: u32 = 4u; // 0 without a second set, whose numbers are then vec2 and not used
// The workgroup size, which is the size of all subgroups: 4, 8 or 16.
const LANES: u32 = 8u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
// The fours of a row that a lane loads.
const FOURS: u32 = (WIDTH + 4u * LANES - 1u) / (4u * LANES);
const LAST: u32 = max(SECOND, 2u) - 1u;
const SECOND_WIDTH: u32 = select(1u, WIDTH, SECOND > 0u);
// How far, in powers of two, a row's highest score may rise before its sums are scaled anew. Without scaling they are exact.
const SLACK: f32 = 8.0;
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

var<private> x: array<First, WIDTH>; // the queries, scaled, and 0 past the width
var<private> y: array<Second, SECOND_WIDTH>;
var<private> sums: array<First, WIDTH>;
var<private> sumsOfSecond: array<Second, SECOND_WIDTH>;
// The fours that a lane loads of a key, and of four values.
var<private> key: array<vec4<f32>, FOURS>;
var<private> value0: array<vec4<f32>, FOURS>;
var<private> value1: array<vec4<f32>, FOURS>;
var<private> value2: array<vec4<f32>, FOURS>;
var<private> value3: array<vec4<f32>, FOURS>;

// Numbers of a lane's rows of both sets.
struct Both { first: First, second: Second }
// The same for each of four rows on the other side.
struct FourBoth { a: Both, b: Both, c: Both, d: Both }

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

// Element i of four.
fn at4(all: vec4<u32>, i: u32) -> u32 {
  return select(select(all.x, all.y, i == 1u), select(all.z, all.w, i == 3u), i > 1u);
}

// The same columns, without the first and with another one behind the last.
fn shiftedColumns(m: mat4x4<f32>, last: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(m[1], m[2], m[3], last);
}

// The four of number i that a lane loads of the key that begins at `at`.
fn keyFour(at: u32, i: u32, lane: u32) -> vec4<f32> {
  let c = (i * LANES + lane) * 4u;
  let inside = c < select(WIDTH, params.width, PADDED);
  return select(vec4<f32>(), k[(at + select(0u, c, inside)) / 4u], inside);
}

fn valueFour(at: u32, i: u32, lane: u32) -> vec4<f32> {
  let c = (i * LANES + lane) * 4u;
  return v[(at + min(c, params.width - 4u)) / 4u];
}

fn plusSharedFour(sum: Both, c: u32, w: vec4<f32>) -> Both {
  let first = (((sum.first + x[c] * w.x) + x[c + 1u] * w.y) + x[c + 2u] * w.z) + x[c + 3u] * w.w;
  if (SECOND == 0u) { return Both(first, sum.second); }
  return Both(first, (((sum.second + y[c] * w.x) + y[c + 1u] * w.y) + y[c + 2u] * w.z) + y[c + 3u] * w.w);
}

// The sum and the products of sixteen elements, which lanes 0 to 3 hold, or lanes 4 to 7, 8 to 11 or 12 to 15.
fn plusShared16(sum: Both, c: u32) -> Both {
  let w = key[c / (4u * LANES)];
  let place = c % (4u * LANES);
  if (place == 0u) {
    let half = plusSharedFour(plusSharedFour(sum, c, subgroupBroadcast(w, 0u)), c + 4u, subgroupBroadcast(w, 1u));
    return plusSharedFour(plusSharedFour(half, c + 8u, subgroupBroadcast(w, 2u)), c + 12u, subgroupBroadcast(w, 3u));
  }
  if (place == 16u) {
    let half = plusSharedFour(plusSharedFour(sum, c, subgroupBroadcast(w, 4u)), c + 4u, subgroupBroadcast(w, 5u));
    return plusSharedFour(plusSharedFour(half, c + 8u, subgroupBroadcast(w, 6u)), c + 12u, subgroupBroadcast(w, 7u));
  }
  if (place == 32u) {
    let half = plusSharedFour(plusSharedFour(sum, c, subgroupBroadcast(w, 8u)), c + 4u, subgroupBroadcast(w, 9u));
    return plusSharedFour(plusSharedFour(half, c + 8u, subgroupBroadcast(w, 10u)), c + 12u, subgroupBroadcast(w, 11u));
  }
  let half = plusSharedFour(plusSharedFour(sum, c, subgroupBroadcast(w, 12u)), c + 4u, subgroupBroadcast(w, 13u));
  return plusSharedFour(plusSharedFour(half, c + 8u, subgroupBroadcast(w, 14u)), c + 12u, subgroupBroadcast(w, 15u));
}

// The scores of a lane's queries with the key.
fn sharedScores() -> Both {
  var sum = plusShared16(Both(), 0u);
  if (WIDTH > 16u) { sum = plusShared16(sum, 16u); }
  if (WIDTH > 32u) { sum = plusShared16(sum, 32u); }
  if (WIDTH > 48u) { sum = plusShared16(sum, 48u); }
  if (WIDTH > 64u) { sum = plusShared16(sum, 64u); }
  if (WIDTH > 80u) { sum = plusShared16(sum, 80u); }
  if (WIDTH > 96u) { sum = plusShared16(sum, 96u); }
  if (WIDTH > 112u) { sum = plusShared16(sum, 112u); }
  return sum;
}

// Adds an element of four values, times their weights, to the sums at a place.
fn addSharedOne(p: FourBoth, c: u32, w: vec4<f32>) {
  sums[c] += (p.a.first * w.x + p.b.first * w.y) + (p.c.first * w.z + p.d.first * w.w);
  if (SECOND > 0u) { sumsOfSecond[c] += (p.a.second * w.x + p.b.second * w.y) + (p.c.second * w.z + p.d.second * w.w); }
}

fn addSharedFour(p: FourBoth, c: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
  addSharedOne(p, c, vec4(w0.x, w1.x, w2.x, w3.x));
  addSharedOne(p, c + 1u, vec4(w0.y, w1.y, w2.y, w3.y));
  addSharedOne(p, c + 2u, vec4(w0.z, w1.z, w2.z, w3.z));
  addSharedOne(p, c + 3u, vec4(w0.w, w1.w, w2.w, w3.w));
}

// Adds four elements of the values, which a lane holds, to the sums.
fn addShared16(p: FourBoth, c: u32) {
  let i = c / (4u * LANES);
  let place = c % (4u * LANES);
  let a = value0[i];
  let b = value1[i];
  let d = value2[i];
  let e = value3[i];
  if (place == 0u) {
    addSharedFour(p, c, subgroupBroadcast(a, 0u), subgroupBroadcast(b, 0u), subgroupBroadcast(d, 0u), subgroupBroadcast(e, 0u));
    addSharedFour(p, c + 4u, subgroupBroadcast(a, 1u), subgroupBroadcast(b, 1u), subgroupBroadcast(d, 1u), subgroupBroadcast(e, 1u));
    addSharedFour(p, c + 8u, subgroupBroadcast(a, 2u), subgroupBroadcast(b, 2u), subgroupBroadcast(d, 2u), subgroupBroadcast(e, 2u));
    addSharedFour(p, c + 12u, subgroupBroadcast(a, 3u), subgroupBroadcast(b, 3u), subgroupBroadcast(d, 3u), subgroupBroadcast(e, 3u));
  } else if (place == 16u) {
    addSharedFour(p, c, subgroupBroadcast(a, 4u), subgroupBroadcast(b, 4u), subgroupBroadcast(d, 4u), subgroupBroadcast(e, 4u));
    addSharedFour(p, c + 4u, subgroupBroadcast(a, 5u), subgroupBroadcast(b, 5u), subgroupBroadcast(d, 5u), subgroupBroadcast(e, 5u));
    addSharedFour(p, c + 8u, subgroupBroadcast(a, 6u), subgroupBroadcast(b, 6u), subgroupBroadcast(d, 6u), subgroupBroadcast(e, 6u));
    addSharedFour(p, c + 12u, subgroupBroadcast(a, 7u), subgroupBroadcast(b, 7u), subgroupBroadcast(d, 7u), subgroupBroadcast(e, 7u));
  } else if (place == 32u) {
    addSharedFour(p, c, subgroupBroadcast(a, 8u), subgroupBroadcast(b, 8u), subgroupBroadcast(d, 8u), subgroupBroadcast(e, 8u));
    addSharedFour(p, c + 4u, subgroupBroadcast(a, 9u), subgroupBroadcast(b, 9u), subgroupBroadcast(d, 9u), subgroupBroadcast(e, 9u));
    addSharedFour(p, c + 8u, subgroupBroadcast(a, 10u), subgroupBroadcast(b, 10u), subgroupBroadcast(d, 10u), subgroupBroadcast(e, 10u));
    addSharedFour(p, c + 12u, subgroupBroadcast(a, 11u), subgroupBroadcast(b, 11u), subgroupBroadcast(d, 11u), subgroupBroadcast(e, 11u));
  } else {
    addSharedFour(p, c, subgroupBroadcast(a, 12u), subgroupBroadcast(b, 12u), subgroupBroadcast(d, 12u), subgroupBroadcast(e, 12u));
    addSharedFour(p, c + 4u, subgroupBroadcast(a, 13u), subgroupBroadcast(b, 13u), subgroupBroadcast(d, 13u), subgroupBroadcast(e, 13u));
    addSharedFour(p, c + 8u, subgroupBroadcast(a, 14u), subgroupBroadcast(b, 14u), subgroupBroadcast(d, 14u), subgroupBroadcast(e, 14u));
    addSharedFour(p, c + 12u, subgroupBroadcast(a, 15u), subgroupBroadcast(b, 15u), subgroupBroadcast(d, 15u), subgroupBroadcast(e, 15u));
  }
}

fn addSharedValues(p: FourBoth) {
  addShared16(p, 0u);
  if (WIDTH > 16u) { addShared16(p, 16u); }
  if (WIDTH > 32u) { addShared16(p, 32u); }
  if (WIDTH > 48u) { addShared16(p, 48u); }
  if (WIDTH > 64u) { addShared16(p, 64u); }
  if (WIDTH > 80u) { addShared16(p, 80u); }
  if (WIDTH > 96u) { addShared16(p, 96u); }
  if (WIDTH > 112u) { addShared16(p, 112u); }
}

fn loadKey(at: u32, lane: u32) {
  key[0] = keyFour(at, 0u, lane);
  if (FOURS > 1u) { key[min(1u, FOURS - 1u)] = keyFour(at, 1u, lane); }
  if (FOURS > 2u) { key[min(2u, FOURS - 1u)] = keyFour(at, 2u, lane); }
  if (FOURS > 3u) { key[min(3u, FOURS - 1u)] = keyFour(at, 3u, lane); }
  if (FOURS > 4u) { key[min(4u, FOURS - 1u)] = keyFour(at, 4u, lane); }
  if (FOURS > 5u) { key[min(5u, FOURS - 1u)] = keyFour(at, 5u, lane); }
  if (FOURS > 6u) { key[min(6u, FOURS - 1u)] = keyFour(at, 6u, lane); }
  if (FOURS > 7u) { key[min(7u, FOURS - 1u)] = keyFour(at, 7u, lane); }
}

// Loads a four of the last of four values, which moves the others on: a store at an index that is not constant costs ten times as much.
fn loadValueFour(at: u32, i: u32, lane: u32) {
  value0[i] = value1[i];
  value1[i] = value2[i];
  value2[i] = value3[i];
  value3[i] = valueFour(at, i, lane);
}

fn loadValue(at: u32, lane: u32) {
  loadValueFour(at, 0u, lane);
  if (FOURS > 1u) { loadValueFour(at, min(1u, FOURS - 1u), lane); }
  if (FOURS > 2u) { loadValueFour(at, min(2u, FOURS - 1u), lane); }
  if (FOURS > 3u) { loadValueFour(at, min(3u, FOURS - 1u), lane); }
  if (FOURS > 4u) { loadValueFour(at, min(4u, FOURS - 1u), lane); }
  if (FOURS > 5u) { loadValueFour(at, min(5u, FOURS - 1u), lane); }
  if (FOURS > 6u) { loadValueFour(at, min(6u, FOURS - 1u), lane); }
  if (FOURS > 7u) { loadValueFour(at, min(7u, FOURS - 1u), lane); }
}

// A number, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity alone. The
// test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn finiteOrNaN(number: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(number, bitcast<f32>(nan), bitcast<u32>(sum) - 1u >= 0x7f7fffffu);
}

// The fours of a row's sums at four places.
fn storeOutFour(at: u32, c: u32, sum: vec4<f32>, there: bool) {
  if (there) { out[(at + c) / 4u] = sum; }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  const ROWS = LANES * (FIRST + SECOND);
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.queries + ROWS - 1u) / ROWS;
  if (group >= blocks * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let lse0 = wid.z * params.strides[1].x + group / blocks * params.queries;
  let b = group / blocks / params.heads;
  let h = group / blocks % params.heads;
  let row = group % blocks * ROWS + local + LANES * vec4(0u, 1u, 2u, 3u); // of which the first FIRST count
  let next = row + LANES * FIRST; // of which the first SECOND count
  let lastRow = vec4(params.queries - 1u);
  // These are WIDTH and 4, but only known at run time, so that drivers do not unroll the loops, which costs seconds of compilation.
  let room = min(WIDTH, params.width + 15u);
  let four = min(4u, params.width);
  let scale = params.scale * LOG2E;
  let q0 = own.x + rowStarts(params.q, b, h, min(row, lastRow));
  let q1 = own.x + rowStarts(params.q, b, h, min(next, lastRow));
  for (var c = 0u; c < params.width; c += 4u) {
    var own4 = mat4x4<f32>();
    var more = mat4x4<f32>();
    for (var i = 0u; i < four; i++) {
      own4 = shiftedColumns(own4, q[(at4(q0, i) + c) / 4u]);
      if (SECOND > 0u) { more = shiftedColumns(more, q[(at4(q1, i) + c) / 4u]); }
    }
    own4 = transpose(own4) * scale;
    more = transpose(more) * scale;
    for (var i = 0u; i < four; i++) {
      x[c + i] = firstOf(own4[0]);
      own4 = shiftedColumns(own4, vec4<f32>());
      if (SECOND > 0u) {
        y[c + i] = secondOf(more[0]);
        more = shiftedColumns(more, vec4<f32>());
      }
    }
  }

  let lowest = Both(First(LOWEST), Second(LOWEST));
  var top = lowest;
  var total = Both();
  let k0 = own.y + params.k.x + b * params.k.y + h * params.k.z;
  let v0 = own.z + params.v.x + b * params.v.y + h * params.v.z;
  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  for (var j = 0u; j < params.keys; j += 4u) {
    let count = min(4u, params.keys - j);
    // The lowest scores in place of those before the last ones, which change no maximum.
    var s = FourBoth(lowest, lowest, lowest, lowest);
    for (var t = 0u; t < count; t++) {
      loadKey(k0 + (j + t) * params.k.w, lane);
      loadValue(v0 + (j + t) * params.v.w, lane);
      var sum = Both();
      if (always) { sum = sharedScores(); }
      s = FourBoth(s.b, s.c, s.d, sum);
    }
    let highest = max(max(s.a.first, s.b.first), max(s.c.first, s.d.first));
    var highestOfSecond = Second();
    var rises = any(highest > top.first + SLACK);
    if (SECOND > 0u) {
      highestOfSecond = max(max(s.a.second, s.b.second), max(s.c.second, s.d.second));
      rises = rises || any(highestOfSecond > top.second + SLACK);
    }
    if (rises) {
      let factor = exp2(top.first - max(top.first, highest));
      top.first = max(top.first, highest);
      total.first *= factor;
      var factorOfSecond = Second();
      if (SECOND > 0u) {
        factorOfSecond = exp2(top.second - max(top.second, highestOfSecond));
        top.second = max(top.second, highestOfSecond);
        total.second *= factorOfSecond;
      }
      for (var c = 0u; c < room && j > 0u; c++) {
        sums[c] *= factor;
        if (SECOND > 0u) { sumsOfSecond[c] *= factorOfSecond; }
      }
    }
    let there = select(vec4(0.0), vec4(1.0), vec4(count) > vec4(3u, 2u, 1u, 0u));
    var p = FourBoth();
    p.a.first = exp2(s.a.first - top.first) * there.x;
    p.b.first = exp2(s.b.first - top.first) * there.y;
    p.c.first = exp2(s.c.first - top.first) * there.z;
    p.d.first = exp2(s.d.first - top.first);
    total.first += (p.a.first + p.b.first) + (p.c.first + p.d.first);
    if (SECOND > 0u) {
      p.a.second = exp2(s.a.second - top.second) * there.x;
      p.b.second = exp2(s.b.second - top.second) * there.y;
      p.c.second = exp2(s.c.second - top.second) * there.z;
      p.d.second = exp2(s.d.second - top.second);
      total.second += (p.a.second + p.b.second) + (p.c.second + p.d.second);
    }
    if (always) { addSharedValues(p); }
  }

  let out0 = own.w + rowStarts(params.out, b, h, row);
  let out1 = own.w + rowStarts(params.out, b, h, next);
  var inverse: Both;
  for (var i = 0u; i < FIRST; i++) {
    inverse.first[i] = finiteOrNaN(1.0 / total.first[i], total.first[i]);
    if (row[i] < params.queries) { lse[lse0 + row[i]] = finiteOrNaN((top.first[i] + log2(total.first[i])) * LN2, total.first[i]); }
  }
  for (var i = 0u; i < SECOND; i++) {
    inverse.second[i] = finiteOrNaN(1.0 / total.second[i], total.second[i]);
    if (next[i] < params.queries) { lse[lse0 + next[i]] = finiteOrNaN((top.second[i] + log2(total.second[i])) * LN2, total.second[i]); }
  }
  for (var c = 0u; c < params.width; c += 4u) {
    for (var i = 0u; i < min(four, FIRST); i++) {
      let sum = vec4(sums[c][i], sums[c + 1u][i], sums[c + 2u][i], sums[c + 3u][i]) * inverse.first[i];
      storeOutFour(at4(out0, i), c, sum, at4(row, i) < params.queries);
    }
    for (var i = 0u; i < min(four, SECOND); i++) {
      let sum = vec4(sumsOfSecond[c][i], sumsOfSecond[c + 1u][i], sumsOfSecond[c + 2u][i], sumsOfSecond[c + 3u][i]) * inverse.second[i];
      storeOutFour(at4(out1, i), c, sum, at4(next, i) < params.queries);
    }
  }
}
