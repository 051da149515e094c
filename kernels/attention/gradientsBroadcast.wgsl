// All three gradients of attention (2205.14135) for software devices, where rows lie in aligned fours, one workgroup for each head, so that
// scores and probabilities are computed once, where two kernels compute them twice. A lane owns up to eight keys of a block, in two sets, and
// holds them, their values and both gradients in private memory. All lanes pass over the queries together, four at a time: a lane loads
// four elements of a query and of its gradient, and broadcasts hand them round. Loops over the width are written out where they are hot, so
// that places in private memory are constants: a private array at another index costs as much as ten multiply-adds to read and fifty to
// write. Each lane has a part of a query's gradient from its own keys; swaps add the parts up. The blocks of keys of a head follow each
// other, and each adds to the gradients of the queries in memory.
enable subgroups;

// A number for each key of a lane's first and second set.
alias First = vec4<f32>;
alias Second = vec4<f32>;
const FIRST: u32 = 4u;
const SECOND: u32 = 4u; // 0 without a second set, whose numbers are then vec2 and not used
const LAST: u32 = max(SECOND, 2u) - 1u;
// The workgroup size, which is the size of all subgroups: 4, 8 or 16.
const LANES: u32 = 8u;
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
// The fours of a row that a lane loads.
const FOURS: u32 = (WIDTH + 4u * LANES - 1u) / (4u * LANES);
const SECOND_WIDTH: u32 = select(1u, WIDTH, SECOND > 0u);
// The most queries that are added up in private memory, which makes a chain of a quarter as many additions.
const FOLD: u32 = 256u;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, dOut: vec4<u32>, dq: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [B, H, Tq, Dh] in strides of fours
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>; // [B, H, Tk, Dh] in strides of fours
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>; // [B, H, Tk, Dh] in strides of fours
@group(0) @binding(3) var<storage, read> out: array<vec4<f32>>; // [B, H, Tq, Dh] in strides of fours
@group(0) @binding(4) var<storage, read> dOut: array<vec4<f32>>; // [B, H, Tq, Dh] in strides of fours
@group(0) @binding(5) var<storage, read_write> statistics: array<f32>; // [2, B * H * Tq rounded up]: lse, which is read, and delta
@group(0) @binding(6) var<storage, read_write> gradients: array<vec4<f32>>; // dq [B, H, Tq, Dh], dk and dv [B, H, Tk, Dh] in strides of fours
@group(1) @binding(0) var<uniform> params: Params;

var<private> x: array<First, WIDTH>; // the keys, scaled, and 0 past the width
var<private> x2: array<Second, SECOND_WIDTH>;
var<private> y: array<First, WIDTH>; // the values, and 0 past the width
var<private> y2: array<Second, SECOND_WIDTH>;
var<private> dk: array<First, WIDTH>;
var<private> dk2: array<Second, SECOND_WIDTH>;
var<private> dv: array<First, WIDTH>;
var<private> dv2: array<Second, SECOND_WIDTH>;
// The fours that a lane loads of four queries, and of their gradients.
var<private> q0: array<vec4<f32>, FOURS>;
var<private> q1: array<vec4<f32>, FOURS>;
var<private> q2: array<vec4<f32>, FOURS>;
var<private> q3: array<vec4<f32>, FOURS>;
var<private> g0: array<vec4<f32>, FOURS>;
var<private> g1: array<vec4<f32>, FOURS>;
var<private> g2: array<vec4<f32>, FOURS>;
var<private> g3: array<vec4<f32>, FOURS>;
// The same of what earlier blocks of keys gave to the gradient of the last of the four.
var<private> dqRow: array<vec4<f32>, FOURS>;

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

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
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

// The first of the four elements of number i that a lane loads of a row.
fn shareStart(i: u32, lane: u32) -> u32 {
  return (i * LANES + lane % LANES) * 4u;
}

fn isInRow(c: u32) -> bool {
  return c < select(WIDTH, params.width, PADDED);
}

// The four of number i that a lane loads of a query, and 0 past the width.
fn queryFour(at: u32, i: u32, lane: u32) -> vec4<f32> {
  let c = shareStart(i, lane);
  return select(vec4<f32>(), q[(at + select(0u, c, isInRow(c))) / 4u], isInRow(c));
}

fn gradientFour(at: u32, i: u32, lane: u32) -> vec4<f32> {
  let c = shareStart(i, lane);
  return select(vec4<f32>(), dOut[(at + select(0u, c, isInRow(c))) / 4u], isInRow(c));
}

fn outFour(at: u32, i: u32, lane: u32) -> vec4<f32> {
  let c = shareStart(i, lane);
  return select(vec4<f32>(), out[(at + select(0u, c, isInRow(c))) / 4u], isInRow(c));
}

// Loads a four of the next of four queries, and of its gradient.
fn loadFour(qAt: u32, gAt: u32, dqAt: u32, i: u32, lane: u32, begun: bool) {
  q0[i] = q1[i];
  q1[i] = q2[i];
  q2[i] = q3[i];
  q3[i] = queryFour(qAt, i, lane);
  g0[i] = g1[i];
  g1[i] = g2[i];
  g2[i] = g3[i];
  g3[i] = gradientFour(gAt, i, lane);
  let c = shareStart(i, lane);
  dqRow[i] = select(vec4<f32>(), gradients[(dqAt + select(0u, c, isInRow(c))) / 4u], begun);
}

fn loadShares(qAt: u32, gAt: u32, dqAt: u32, lane: u32, begun: bool) {
  loadFour(qAt, gAt, dqAt, 0u, lane, begun);
  if (FOURS > 1u) { loadFour(qAt, gAt, dqAt, min(1u, FOURS - 1u), lane, begun); }
  if (FOURS > 2u) { loadFour(qAt, gAt, dqAt, min(2u, FOURS - 1u), lane, begun); }
  if (FOURS > 3u) { loadFour(qAt, gAt, dqAt, min(3u, FOURS - 1u), lane, begun); }
  if (FOURS > 4u) { loadFour(qAt, gAt, dqAt, min(4u, FOURS - 1u), lane, begun); }
  if (FOURS > 5u) { loadFour(qAt, gAt, dqAt, min(5u, FOURS - 1u), lane, begun); }
  if (FOURS > 6u) { loadFour(qAt, gAt, dqAt, min(6u, FOURS - 1u), lane, begun); }
  if (FOURS > 7u) { loadFour(qAt, gAt, dqAt, min(7u, FOURS - 1u), lane, begun); }
}

fn plusKeysFour(sum: Both, c: u32, w: vec4<f32>) -> Both {
  let first = (((sum.first + x[c] * w.x) + x[c + 1u] * w.y) + x[c + 2u] * w.z) + x[c + 3u] * w.w;
  if (SECOND == 0u) { return Both(first, sum.second); }
  return Both(first, (((sum.second + x2[c] * w.x) + x2[c + 1u] * w.y) + x2[c + 2u] * w.z) + x2[c + 3u] * w.w);
}

// The sum and the products of sixteen elements, which lanes 0 to 3 hold, or lanes 4 to 7, 8 to 11 or 12 to 15.
fn plusKeys16(sum: Both, c: u32) -> Both {
  let w = q3[c / (4u * LANES)];
  let place = c % (4u * LANES);
  if (place == 0u) {
    let half = plusKeysFour(plusKeysFour(sum, c, subgroupBroadcast(w, 0u)), c + 4u, subgroupBroadcast(w, 1u));
    return plusKeysFour(plusKeysFour(half, c + 8u, subgroupBroadcast(w, 2u)), c + 12u, subgroupBroadcast(w, 3u));
  }
  if (place == 16u) {
    let half = plusKeysFour(plusKeysFour(sum, c, subgroupBroadcast(w, 4u)), c + 4u, subgroupBroadcast(w, 5u));
    return plusKeysFour(plusKeysFour(half, c + 8u, subgroupBroadcast(w, 6u)), c + 12u, subgroupBroadcast(w, 7u));
  }
  if (place == 32u) {
    let half = plusKeysFour(plusKeysFour(sum, c, subgroupBroadcast(w, 8u)), c + 4u, subgroupBroadcast(w, 9u));
    return plusKeysFour(plusKeysFour(half, c + 8u, subgroupBroadcast(w, 10u)), c + 12u, subgroupBroadcast(w, 11u));
  }
  let half = plusKeysFour(plusKeysFour(sum, c, subgroupBroadcast(w, 12u)), c + 4u, subgroupBroadcast(w, 13u));
  return plusKeysFour(plusKeysFour(half, c + 8u, subgroupBroadcast(w, 14u)), c + 12u, subgroupBroadcast(w, 15u));
}

fn keyScoreSums() -> Both {
  var sum = plusKeys16(Both(), 0u);
  if (WIDTH > 16u) { sum = plusKeys16(sum, 16u); }
  if (WIDTH > 32u) { sum = plusKeys16(sum, 32u); }
  if (WIDTH > 48u) { sum = plusKeys16(sum, 48u); }
  if (WIDTH > 64u) { sum = plusKeys16(sum, 64u); }
  if (WIDTH > 80u) { sum = plusKeys16(sum, 80u); }
  if (WIDTH > 96u) { sum = plusKeys16(sum, 96u); }
  if (WIDTH > 112u) { sum = plusKeys16(sum, 112u); }
  return sum;
}

fn plusValuesFour(sum: Both, c: u32, w: vec4<f32>) -> Both {
  let first = (((sum.first + y[c] * w.x) + y[c + 1u] * w.y) + y[c + 2u] * w.z) + y[c + 3u] * w.w;
  if (SECOND == 0u) { return Both(first, sum.second); }
  return Both(first, (((sum.second + y2[c] * w.x) + y2[c + 1u] * w.y) + y2[c + 2u] * w.z) + y2[c + 3u] * w.w);
}

// The sum and the products of sixteen elements, which lanes 0 to 3 hold, or lanes 4 to 7, 8 to 11 or 12 to 15.
fn plusValues16(sum: Both, c: u32) -> Both {
  let w = g3[c / (4u * LANES)];
  let place = c % (4u * LANES);
  if (place == 0u) {
    let half = plusValuesFour(plusValuesFour(sum, c, subgroupBroadcast(w, 0u)), c + 4u, subgroupBroadcast(w, 1u));
    return plusValuesFour(plusValuesFour(half, c + 8u, subgroupBroadcast(w, 2u)), c + 12u, subgroupBroadcast(w, 3u));
  }
  if (place == 16u) {
    let half = plusValuesFour(plusValuesFour(sum, c, subgroupBroadcast(w, 4u)), c + 4u, subgroupBroadcast(w, 5u));
    return plusValuesFour(plusValuesFour(half, c + 8u, subgroupBroadcast(w, 6u)), c + 12u, subgroupBroadcast(w, 7u));
  }
  if (place == 32u) {
    let half = plusValuesFour(plusValuesFour(sum, c, subgroupBroadcast(w, 8u)), c + 4u, subgroupBroadcast(w, 9u));
    return plusValuesFour(plusValuesFour(half, c + 8u, subgroupBroadcast(w, 10u)), c + 12u, subgroupBroadcast(w, 11u));
  }
  let half = plusValuesFour(plusValuesFour(sum, c, subgroupBroadcast(w, 12u)), c + 4u, subgroupBroadcast(w, 13u));
  return plusValuesFour(plusValuesFour(half, c + 8u, subgroupBroadcast(w, 14u)), c + 12u, subgroupBroadcast(w, 15u));
}

fn gradientProducts() -> Both {
  var sum = plusValues16(Both(), 0u);
  if (WIDTH > 16u) { sum = plusValues16(sum, 16u); }
  if (WIDTH > 32u) { sum = plusValues16(sum, 32u); }
  if (WIDTH > 48u) { sum = plusValues16(sum, 48u); }
  if (WIDTH > 64u) { sum = plusValues16(sum, 64u); }
  if (WIDTH > 80u) { sum = plusValues16(sum, 80u); }
  if (WIDTH > 96u) { sum = plusValues16(sum, 96u); }
  if (WIDTH > 112u) { sum = plusValues16(sum, 112u); }
  return sum;
}

// Adds an element of four rows, times a number of each key, to the sums at a place.
fn addKeysOne(p: FourBoth, c: u32, w: vec4<f32>) {
  dk[c] += (p.a.first * w.x + p.b.first * w.y) + (p.c.first * w.z + p.d.first * w.w);
  if (SECOND > 0u) { dk2[c] += (p.a.second * w.x + p.b.second * w.y) + (p.c.second * w.z + p.d.second * w.w); }
}

fn addKeysFour(p: FourBoth, c: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
  addKeysOne(p, c, vec4(w0.x, w1.x, w2.x, w3.x));
  addKeysOne(p, c + 1u, vec4(w0.y, w1.y, w2.y, w3.y));
  addKeysOne(p, c + 2u, vec4(w0.z, w1.z, w2.z, w3.z));
  addKeysOne(p, c + 3u, vec4(w0.w, w1.w, w2.w, w3.w));
}

fn addToKeys16(p: FourBoth, c: u32) {
  let i = c / (4u * LANES);
  let place = c % (4u * LANES);
  let a = q0[i];
  let b = q1[i];
  let d = q2[i];
  let e = q3[i];
  if (place == 0u) {
    addKeysFour(p, c, subgroupBroadcast(a, 0u), subgroupBroadcast(b, 0u), subgroupBroadcast(d, 0u), subgroupBroadcast(e, 0u));
    addKeysFour(p, c + 4u, subgroupBroadcast(a, 1u), subgroupBroadcast(b, 1u), subgroupBroadcast(d, 1u), subgroupBroadcast(e, 1u));
    addKeysFour(p, c + 8u, subgroupBroadcast(a, 2u), subgroupBroadcast(b, 2u), subgroupBroadcast(d, 2u), subgroupBroadcast(e, 2u));
    addKeysFour(p, c + 12u, subgroupBroadcast(a, 3u), subgroupBroadcast(b, 3u), subgroupBroadcast(d, 3u), subgroupBroadcast(e, 3u));
  } else if (place == 16u) {
    addKeysFour(p, c, subgroupBroadcast(a, 4u), subgroupBroadcast(b, 4u), subgroupBroadcast(d, 4u), subgroupBroadcast(e, 4u));
    addKeysFour(p, c + 4u, subgroupBroadcast(a, 5u), subgroupBroadcast(b, 5u), subgroupBroadcast(d, 5u), subgroupBroadcast(e, 5u));
    addKeysFour(p, c + 8u, subgroupBroadcast(a, 6u), subgroupBroadcast(b, 6u), subgroupBroadcast(d, 6u), subgroupBroadcast(e, 6u));
    addKeysFour(p, c + 12u, subgroupBroadcast(a, 7u), subgroupBroadcast(b, 7u), subgroupBroadcast(d, 7u), subgroupBroadcast(e, 7u));
  } else if (place == 32u) {
    addKeysFour(p, c, subgroupBroadcast(a, 8u), subgroupBroadcast(b, 8u), subgroupBroadcast(d, 8u), subgroupBroadcast(e, 8u));
    addKeysFour(p, c + 4u, subgroupBroadcast(a, 9u), subgroupBroadcast(b, 9u), subgroupBroadcast(d, 9u), subgroupBroadcast(e, 9u));
    addKeysFour(p, c + 8u, subgroupBroadcast(a, 10u), subgroupBroadcast(b, 10u), subgroupBroadcast(d, 10u), subgroupBroadcast(e, 10u));
    addKeysFour(p, c + 12u, subgroupBroadcast(a, 11u), subgroupBroadcast(b, 11u), subgroupBroadcast(d, 11u), subgroupBroadcast(e, 11u));
  } else {
    addKeysFour(p, c, subgroupBroadcast(a, 12u), subgroupBroadcast(b, 12u), subgroupBroadcast(d, 12u), subgroupBroadcast(e, 12u));
    addKeysFour(p, c + 4u, subgroupBroadcast(a, 13u), subgroupBroadcast(b, 13u), subgroupBroadcast(d, 13u), subgroupBroadcast(e, 13u));
    addKeysFour(p, c + 8u, subgroupBroadcast(a, 14u), subgroupBroadcast(b, 14u), subgroupBroadcast(d, 14u), subgroupBroadcast(e, 14u));
    addKeysFour(p, c + 12u, subgroupBroadcast(a, 15u), subgroupBroadcast(b, 15u), subgroupBroadcast(d, 15u), subgroupBroadcast(e, 15u));
  }
}

fn addToKeys(p: FourBoth) {
  addToKeys16(p, 0u);
  if (WIDTH > 16u) { addToKeys16(p, 16u); }
  if (WIDTH > 32u) { addToKeys16(p, 32u); }
  if (WIDTH > 48u) { addToKeys16(p, 48u); }
  if (WIDTH > 64u) { addToKeys16(p, 64u); }
  if (WIDTH > 80u) { addToKeys16(p, 80u); }
  if (WIDTH > 96u) { addToKeys16(p, 96u); }
  if (WIDTH > 112u) { addToKeys16(p, 112u); }
}

// Adds an element of four rows, times a number of each key, to the sums at a place.
fn addValuesOne(p: FourBoth, c: u32, w: vec4<f32>) {
  dv[c] += (p.a.first * w.x + p.b.first * w.y) + (p.c.first * w.z + p.d.first * w.w);
  if (SECOND > 0u) { dv2[c] += (p.a.second * w.x + p.b.second * w.y) + (p.c.second * w.z + p.d.second * w.w); }
}

fn addValuesFour(p: FourBoth, c: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
  addValuesOne(p, c, vec4(w0.x, w1.x, w2.x, w3.x));
  addValuesOne(p, c + 1u, vec4(w0.y, w1.y, w2.y, w3.y));
  addValuesOne(p, c + 2u, vec4(w0.z, w1.z, w2.z, w3.z));
  addValuesOne(p, c + 3u, vec4(w0.w, w1.w, w2.w, w3.w));
}

fn addToValues16(p: FourBoth, c: u32) {
  let i = c / (4u * LANES);
  let place = c % (4u * LANES);
  let a = g0[i];
  let b = g1[i];
  let d = g2[i];
  let e = g3[i];
  if (place == 0u) {
    addValuesFour(p, c, subgroupBroadcast(a, 0u), subgroupBroadcast(b, 0u), subgroupBroadcast(d, 0u), subgroupBroadcast(e, 0u));
    addValuesFour(p, c + 4u, subgroupBroadcast(a, 1u), subgroupBroadcast(b, 1u), subgroupBroadcast(d, 1u), subgroupBroadcast(e, 1u));
    addValuesFour(p, c + 8u, subgroupBroadcast(a, 2u), subgroupBroadcast(b, 2u), subgroupBroadcast(d, 2u), subgroupBroadcast(e, 2u));
    addValuesFour(p, c + 12u, subgroupBroadcast(a, 3u), subgroupBroadcast(b, 3u), subgroupBroadcast(d, 3u), subgroupBroadcast(e, 3u));
  } else if (place == 16u) {
    addValuesFour(p, c, subgroupBroadcast(a, 4u), subgroupBroadcast(b, 4u), subgroupBroadcast(d, 4u), subgroupBroadcast(e, 4u));
    addValuesFour(p, c + 4u, subgroupBroadcast(a, 5u), subgroupBroadcast(b, 5u), subgroupBroadcast(d, 5u), subgroupBroadcast(e, 5u));
    addValuesFour(p, c + 8u, subgroupBroadcast(a, 6u), subgroupBroadcast(b, 6u), subgroupBroadcast(d, 6u), subgroupBroadcast(e, 6u));
    addValuesFour(p, c + 12u, subgroupBroadcast(a, 7u), subgroupBroadcast(b, 7u), subgroupBroadcast(d, 7u), subgroupBroadcast(e, 7u));
  } else if (place == 32u) {
    addValuesFour(p, c, subgroupBroadcast(a, 8u), subgroupBroadcast(b, 8u), subgroupBroadcast(d, 8u), subgroupBroadcast(e, 8u));
    addValuesFour(p, c + 4u, subgroupBroadcast(a, 9u), subgroupBroadcast(b, 9u), subgroupBroadcast(d, 9u), subgroupBroadcast(e, 9u));
    addValuesFour(p, c + 8u, subgroupBroadcast(a, 10u), subgroupBroadcast(b, 10u), subgroupBroadcast(d, 10u), subgroupBroadcast(e, 10u));
    addValuesFour(p, c + 12u, subgroupBroadcast(a, 11u), subgroupBroadcast(b, 11u), subgroupBroadcast(d, 11u), subgroupBroadcast(e, 11u));
  } else {
    addValuesFour(p, c, subgroupBroadcast(a, 12u), subgroupBroadcast(b, 12u), subgroupBroadcast(d, 12u), subgroupBroadcast(e, 12u));
    addValuesFour(p, c + 4u, subgroupBroadcast(a, 13u), subgroupBroadcast(b, 13u), subgroupBroadcast(d, 13u), subgroupBroadcast(e, 13u));
    addValuesFour(p, c + 8u, subgroupBroadcast(a, 14u), subgroupBroadcast(b, 14u), subgroupBroadcast(d, 14u), subgroupBroadcast(e, 14u));
    addValuesFour(p, c + 12u, subgroupBroadcast(a, 15u), subgroupBroadcast(b, 15u), subgroupBroadcast(d, 15u), subgroupBroadcast(e, 15u));
  }
}

fn addToValues(p: FourBoth) {
  addToValues16(p, 0u);
  if (WIDTH > 16u) { addToValues16(p, 16u); }
  if (WIDTH > 32u) { addToValues16(p, 32u); }
  if (WIDTH > 48u) { addToValues16(p, 48u); }
  if (WIDTH > 64u) { addToValues16(p, 64u); }
  if (WIDTH > 80u) { addToValues16(p, 80u); }
  if (WIDTH > 96u) { addToValues16(p, 96u); }
  if (WIDTH > 112u) { addToValues16(p, 112u); }
}

// A lane's own part of an element of a query's gradient.
fn ownPart(c: u32, ds: Both) -> f32 {
  if (SECOND == 0u) { return dot(ds.first, x[c]); }
  return dot(ds.first, x[c]) + dot(ds.second, x2[c]);
}

fn partsOf(c: u32, ds: Both) -> vec4<f32> {
  return vec4(ownPart(c, ds), ownPart(c + 1u, ds), ownPart(c + 2u, ds), ownPart(c + 3u, ds));
}

// Of sixteen elements the four that belong to a lane's place in its quad, added up in the quad.
fn quadSum(c: u32, ds: Both, lane: u32) -> vec4<f32> {
  let odd = (lane & 1u) != 0u;
  let high = (lane & 2u) != 0u;
  let a = partsOf(c, ds);
  let b = partsOf(c + 4u, ds);
  let d = partsOf(c + 8u, ds);
  let e = partsOf(c + 12u, ds);
  let near = select(a, d, high) + quadSwapY(select(d, a, high));
  let far = select(b, e, high) + quadSwapY(select(e, b, high));
  return select(near, far, odd) + quadSwapX(select(far, near, odd));
}

// The four elements of number i of a query's gradient that belong to a lane, added up in the subgroup.
fn queryGradientFour(i: u32, ds: Both, lane: u32) -> vec4<f32> {
  let c = i * LANES * 4u;
  var sum = quadSum(c, ds, lane);
  if (LANES == 4u) { return sum; }
  let second = (lane & 4u) != 0u;
  if (LANES == 8u) {
    if (c + 16u >= WIDTH) { return sum + subgroupShuffleXor(sum, 4u); }
    let next = quadSum(min(c + 16u, WIDTH - 16u), ds, lane);
    return select(sum, next, second) + subgroupShuffleXor(select(next, sum, second), 4u);
  }
  var more = vec4<f32>();
  if (c + 16u < WIDTH) { more = quadSum(min(c + 16u, WIDTH - 16u), ds, lane); }
  sum = select(sum, more, second) + subgroupShuffleXor(select(more, sum, second), 4u);
  var behind = vec4<f32>();
  if (c + 32u < WIDTH) { behind = quadSum(min(c + 32u, WIDTH - 16u), ds, lane); }
  more = vec4<f32>();
  if (c + 48u < WIDTH) { more = quadSum(min(c + 48u, WIDTH - 16u), ds, lane); }
  behind = select(behind, more, second) + subgroupShuffleXor(select(more, behind, second), 4u);
  let upper = (lane & 8u) != 0u;
  return select(sum, behind, upper) + subgroupShuffleXor(select(behind, sum, upper), 8u);
}

// Adds the part of a block's keys to a lane's fours of the gradient of a query.
fn addToQuery(ds: Both, lane: u32) {
  dqRow[0] += queryGradientFour(0u, ds, lane) * LN2;
  if (FOURS > 1u) { dqRow[min(1u, FOURS - 1u)] += queryGradientFour(1u, ds, lane) * LN2; }
  if (FOURS > 2u) { dqRow[min(2u, FOURS - 1u)] += queryGradientFour(2u, ds, lane) * LN2; }
  if (FOURS > 3u) { dqRow[min(3u, FOURS - 1u)] += queryGradientFour(3u, ds, lane) * LN2; }
  if (FOURS > 4u) { dqRow[min(4u, FOURS - 1u)] += queryGradientFour(4u, ds, lane) * LN2; }
  if (FOURS > 5u) { dqRow[min(5u, FOURS - 1u)] += queryGradientFour(5u, ds, lane) * LN2; }
  if (FOURS > 6u) { dqRow[min(6u, FOURS - 1u)] += queryGradientFour(6u, ds, lane) * LN2; }
  if (FOURS > 7u) { dqRow[min(7u, FOURS - 1u)] += queryGradientFour(7u, ds, lane) * LN2; }
}

fn storeQueryFour(at: u32, i: u32, lane: u32) {
  let c = shareStart(i, lane);
  if (isInRow(c)) { gradients[(at + c) / 4u] = dqRow[i]; }
}

fn storeQuery(at: u32, lane: u32) {
  storeQueryFour(at, 0u, lane);
  if (FOURS > 1u) { storeQueryFour(at, min(1u, FOURS - 1u), lane); }
  if (FOURS > 2u) { storeQueryFour(at, min(2u, FOURS - 1u), lane); }
  if (FOURS > 3u) { storeQueryFour(at, min(3u, FOURS - 1u), lane); }
  if (FOURS > 4u) { storeQueryFour(at, min(4u, FOURS - 1u), lane); }
  if (FOURS > 5u) { storeQueryFour(at, min(5u, FOURS - 1u), lane); }
  if (FOURS > 6u) { storeQueryFour(at, min(6u, FOURS - 1u), lane); }
  if (FOURS > 7u) { storeQueryFour(at, min(7u, FOURS - 1u), lane); }
}

// NaN where a sum of exponentials is not finite, else 0. The test is of the bits because drivers differ on exponentials of NaN.
fn spoiledBy(lse: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(0.0, bitcast<f32>(nan), (bitcast<u32>(lse) & 0x7fffffffu) >= 0x7f800000u);
}

// Stores four elements of a row of dk or dv, or adds them to what earlier queries gave.
fn storeGradientFour(at: u32, sum: vec4<f32>, there: bool, begun: bool) {
  if (there) { gradients[at / 4u] = sum + select(vec4<f32>(), gradients[at / 4u], begun); }
}

// The sum of four products, over all lanes that share a row.
fn sumOfLanes(own: f32) -> f32 {
  var sum = own + quadSwapX(own);
  sum += quadSwapY(sum);
  if (LANES > 4u) { sum += subgroupShuffleXor(sum, 4u); }
  if (LANES > 8u) { sum += subgroupShuffleXor(sum, 8u); }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  const BLOCK = LANES * (FIRST + SECOND);
  let head = wid.y * groups.x + wid.x; // of [B, H]
  if (head >= params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let b = head / params.heads;
  let h = head % params.heads;
  let qStart = own.x + params.q.x + b * params.q.y + h * params.q.z;
  let outStart = own.w + params.out.x + b * params.out.y + h * params.out.z;
  let dOutStart = rest.x + params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  let dqStart = rest.z + params.dq.x + b * params.dq.y + h * params.dq.z;
  let lse0 = rest.y + head * params.queries;
  let delta0 = lse0 + deltaStart();
  // This is FOURS, but only known at run time, so that drivers do not unroll the loop.
  let fours = min(FOURS, params.width);
  // Each lane stores the deltas, all of them the same, so that it needs no barrier to read them.
  for (var i = 0u; i < params.queries; i++) {
    var delta = 0.0;
    for (var f = 0u; f < fours; f++) {
      delta += dot(gradientFour(dOutStart + i * params.dOut.w, f, lane), outFour(outStart + i * params.out.w, f, lane));
    }
    statistics[delta0 + i] = sumOfLanes(delta);
  }

  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  // These are WIDTH and 4, but only known at run time, so that drivers do not unroll the loops, which costs seconds of compilation.
  let room = min(WIDTH, params.width + 15u);
  let four = min(4u, params.width);
  for (var key = 0u; key < params.keys; key += BLOCK) {
    let row = key + local + LANES * vec4(0u, 1u, 2u, 3u); // of which the first FIRST count
    let next = row + LANES * FIRST; // of which the first SECOND count
    let lastRow = vec4(params.keys - 1u);
    let kAt = own.y + rowStarts(params.k, b, h, min(row, lastRow));
    let vAt = own.z + rowStarts(params.v, b, h, min(row, lastRow));
    let kNext = own.y + rowStarts(params.k, b, h, min(next, lastRow));
    let vNext = own.z + rowStarts(params.v, b, h, min(next, lastRow));
    for (var c = 0u; c < params.width; c += 4u) {
      var keys = mat4x4<f32>();
      var values = mat4x4<f32>();
      var moreKeys = mat4x4<f32>();
      var moreValues = mat4x4<f32>();
      for (var i = 0u; i < four; i++) {
        keys = shiftedColumns(keys, k[(at4(kAt, i) + c) / 4u]);
        values = shiftedColumns(values, v[(at4(vAt, i) + c) / 4u]);
        if (SECOND > 0u) {
          moreKeys = shiftedColumns(moreKeys, k[(at4(kNext, i) + c) / 4u]);
          moreValues = shiftedColumns(moreValues, v[(at4(vNext, i) + c) / 4u]);
        }
      }
      keys = transpose(keys) * (params.scale * LOG2E);
      values = transpose(values);
      moreKeys = transpose(moreKeys) * (params.scale * LOG2E);
      moreValues = transpose(moreValues);
      for (var i = 0u; i < four; i++) {
        x[c + i] = firstOf(keys[0]);
        y[c + i] = firstOf(values[0]);
        keys = shiftedColumns(keys, vec4<f32>());
        values = shiftedColumns(values, vec4<f32>());
        if (SECOND > 0u) {
          x2[c + i] = secondOf(moreKeys[0]);
          y2[c + i] = secondOf(moreValues[0]);
          moreKeys = shiftedColumns(moreKeys, vec4<f32>());
          moreValues = shiftedColumns(moreValues, vec4<f32>());
        }
      }
    }
    // 1 for each row of a set that there is, else 0.
    let there = Both(
      firstOf(select(vec4(0.0), vec4(1.0), row < vec4(params.keys))), secondOf(select(vec4(0.0), vec4(1.0), next < vec4(params.keys))),
    );
    let dkAt = rest.z + rowStarts(params.dk, b, h, row);
    let dvAt = rest.z + rowStarts(params.dv, b, h, row);
    let dkNext = rest.z + rowStarts(params.dk, b, h, next);
    let dvNext = rest.z + rowStarts(params.dv, b, h, next);

    for (var begin = 0u; begin < params.queries; begin += FOLD) {
      for (var c = 0u; c < room; c++) {
        dk[c] = First();
        dv[c] = First();
        if (SECOND > 0u) {
          dk2[c] = Second();
          dv2[c] = Second();
        }
      }
      var spoiled = 0.0;
      let end = min(begin + FOLD, params.queries);
      for (var i = begin; i < end; i += 4u) {
        let count = min(4u, end - i);
        var s = FourBoth();
        var p = FourBoth();
        for (var t = 0u; t < count; t++) {
          loadShares(qStart + (i + t) * params.q.w, dOutStart + (i + t) * params.dOut.w, dqStart + (i + t) * params.dq.w, lane, key > 0u);
          let lse = statistics[lse0 + i + t];
          let delta = statistics[delta0 + i + t];
          var weight = Both();
          var ds = Both();
          if (always) { weight = keyScoreSums(); }
          if (always) { ds = gradientProducts(); }
          let nan = spoiledBy(lse);
          spoiled += nan;
          weight.first = exp2(weight.first - lse * LOG2E) * there.first;
          ds.first = weight.first * (ds.first - delta) + nan;
          if (SECOND > 0u) {
            weight.second = exp2(weight.second - lse * LOG2E) * there.second;
            ds.second = weight.second * (ds.second - delta) + nan;
          }
          if (always) { addToQuery(ds, lane); }
          storeQuery(dqStart + (i + t) * params.dq.w, lane);
          s = FourBoth(s.b, s.c, s.d, weight);
          p = FourBoth(p.b, p.c, p.d, ds);
        }
        if (always) { addToKeys(p); }
        if (always) { addToValues(s); }
      }
      for (var c = 0u; c < params.width; c += 4u) {
        for (var i = 0u; i < min(four, FIRST); i++) {
          let own = at4(row, i) < params.keys;
          storeGradientFour(at4(dkAt, i) + c, vec4(dk[c][i], dk[c + 1u][i], dk[c + 2u][i], dk[c + 3u][i]) * params.scale, own, begin > 0u);
          storeGradientFour(at4(dvAt, i) + c, vec4(dv[c][i], dv[c + 1u][i], dv[c + 2u][i], dv[c + 3u][i]) + spoiled, own, begin > 0u);
        }
        for (var i = 0u; i < min(four, SECOND); i++) {
          let own = at4(next, i) < params.keys;
          storeGradientFour(at4(dkNext, i) + c, vec4(dk2[c][i], dk2[c + 1u][i], dk2[c + 2u][i], dk2[c + 3u][i]) * params.scale, own, begin > 0u);
          storeGradientFour(at4(dvNext, i) + c, vec4(dv2[c][i], dv2[c + 1u][i], dv2[c + 2u][i], dv2[c + 3u][i]) + spoiled, own, begin > 0u);
        }
      }
    }
  }
}
