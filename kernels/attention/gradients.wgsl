// All three gradients of attention (2205.14135) for software devices, one workgroup for each head, so that scores and probabilities are
// computed once, where two kernels compute them twice. A lane owns some keys of a block and holds them, their values and both gradients in
// private memory, and all lanes pass over the queries together. A load of q or dOut brings another element to each lane, and swaps hand
// them round: with m the number of the lane among GROUP, place c + i of a lane's arrays holds element c + (i ^ m), so all lanes use the
// same places. Loops over the width are written out where they are hot, so these places are constants: a private array at another index
// costs as much as ten multiply-adds to read and fifty to write. Each lane has a part of a query's gradient from its own keys; swaps add
// the parts up. The blocks of keys of a head follow each other, and each adds to the gradients of the queries in memory.
enable subgroups;

// A number for each key of a set; a lane owns SETS sets of ROWS keys.
alias Rows = vec4<f32>;
const ROWS: u32 = 4u;
const THIRD: u32 = min(2u, ROWS - 1u);
const FOURTH: u32 = ROWS - 1u;
const SETS: u32 = 1u;
// The workgroup size, which is the size of all subgroups: 4, 8, 16 or 32.
const LANES: u32 = 4u;
// Whether subgroups have only 4 lanes.
const NARROW: bool = true;
// The lanes that share a load.
const GROUP: u32 = select(8u, 4u, NARROW);
// The most elements of a head's row: a multiple of 16, at most 128.
const WIDTH: u32 = 64u;
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
const PLACES: u32 = SETS * WIDTH;
const EIGHTS: u32 = WIDTH / 8u;
// Whether there are so many queries that one chain of additions loses digits. Then FOLD queries are added up apart.
const LONG: bool = false;
const FOLD: u32 = 48u;
const LONG_PLACES: u32 = select(1u, PLACES, LONG);
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, dOut: vec4<u32>, dq: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<f32>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<f32>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> out: array<f32>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> dOut: array<f32>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(5) var<storage, read_write> statistics: array<f32>; // [2, B * H * Tq rounded up]: lse, which is read, and delta
@group(0) @binding(6) var<storage, read_write> gradients: array<f32>; // dq [B, H, Tq, Dh], dk and dv [B, H, Tk, Dh] in any strides
@group(1) @binding(0) var<uniform> params: Params;

// The places of a second set follow those of the first.
var<private> x: array<Rows, PLACES>; // the keys, scaled, and 0 past the width
var<private> y: array<Rows, PLACES>; // the values, and 0 past the width
var<private> dk: array<Rows, PLACES>;
var<private> dv: array<Rows, PLACES>;
var<private> longDk: array<Rows, LONG_PLACES>;
var<private> longDv: array<Rows, LONG_PLACES>;
// The part of a row that a lane loads: of each eight elements its own, and where only four lanes share a load, the one four further.
var<private> qRow: array<vec2<f32>, EIGHTS>;
var<private> gRow: array<vec2<f32>, EIGHTS>;

// Eight elements of a row, in the order of a lane's places.
struct Eight { near: vec4<f32>, far: vec4<f32> }
// Numbers of a lane's keys.
struct Own { first: Rows, second: Rows }

// A lane's number, then those of the lanes ^ 1, ^ 2 and ^ 3 of its quad.
fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// The sum of a lane's first number and of those that the lanes ^ 1, ^ 2 and ^ 3 of its quad have for it.
fn collect(parts: vec4<f32>) -> f32 {
  return (parts.x + quadSwapX(parts.y)) + (quadSwapY(parts.z) + quadSwapDiagonal(parts.w));
}

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
}

// The index of the first element of each of four rows of a head.
fn rowStarts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn isInside(d: u32) -> bool {
  return !PADDED || d < params.width;
}

fn ownQuery(at: u32, d: u32) -> vec2<f32> {
  let near = select(0.0, q[at + d], isInside(d));
  if (!NARROW) { return vec2(near, 0.0); }
  return vec2(near, select(0.0, q[at + d + 4u], isInside(d + 4u)));
}

fn ownGradient(at: u32, d: u32) -> vec2<f32> {
  let near = select(0.0, dOut[at + d], isInside(d));
  if (!NARROW) { return vec2(near, 0.0); }
  return vec2(near, select(0.0, dOut[at + d + 4u], isInside(d + 4u)));
}

fn ownOut(at: u32, d: u32) -> vec2<f32> {
  let near = select(0.0, out[at + d], isInside(d));
  if (!NARROW) { return vec2(near, 0.0); }
  return vec2(near, select(0.0, out[at + d + 4u], isInside(d + 4u)));
}

fn loadRow16(qAt: u32, gAt: u32, c: u32, m: u32) {
  qRow[c / 8u] = ownQuery(qAt, c + m);
  gRow[c / 8u] = ownGradient(gAt, c + m);
  qRow[c / 8u + 1u] = ownQuery(qAt, c + 8u + m);
  gRow[c / 8u + 1u] = ownGradient(gAt, c + 8u + m);
}

// Loads a lane's elements of a query and of its gradient.
fn loadRow(qAt: u32, gAt: u32, m: u32) {
  loadRow16(qAt, gAt, 0u, m);
  if (WIDTH > 16u) { loadRow16(qAt, gAt, 16u, m); }
  if (WIDTH > 32u) { loadRow16(qAt, gAt, 32u, m); }
  if (WIDTH > 48u) { loadRow16(qAt, gAt, 48u, m); }
  if (WIDTH > 64u) { loadRow16(qAt, gAt, 64u, m); }
  if (WIDTH > 80u) { loadRow16(qAt, gAt, 80u, m); }
  if (WIDTH > 96u) { loadRow16(qAt, gAt, 96u, m); }
  if (WIDTH > 112u) { loadRow16(qAt, gAt, 112u, m); }
}

fn spreadEight(own: vec2<f32>) -> Eight {
  if (NARROW) { return Eight(share(own.x), share(own.y)); }
  return Eight(share(own.x), share(subgroupShuffleXor(own.x, 4u)));
}

// Element d of a set of keys, scaled.
fn scaledKeys(at: vec4<u32>, d: u32, scale: f32) -> Rows {
  var element: Rows;
  element[0] = k[at.x + d];
  element[1] = k[at.y + d];
  if (ROWS > 2u) { element[THIRD] = k[at.z + d]; }
  if (ROWS > 3u) { element[FOURTH] = k[at.w + d]; }
  return select(Rows(), element * scale, isInside(d));
}

fn ownValues(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = v[at.x + d];
  element[1] = v[at.y + d];
  if (ROWS > 2u) { element[THIRD] = v[at.z + d]; }
  if (ROWS > 3u) { element[FOURTH] = v[at.w + d]; }
  return select(Rows(), element, isInside(d));
}

// Stores element d of a set's rows, but for those past the last row.
fn storeSlice(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (!isInside(d)) { return; }
  if (row.x < params.keys) { gradients[at.x + d] = value[0]; }
  if (row.y < params.keys) { gradients[at.y + d] = value[1]; }
  if (ROWS > 2u && row.z < params.keys) { gradients[at.z + d] = value[THIRD]; }
  if (ROWS > 3u && row.w < params.keys) { gradients[at.w + d] = value[FOURTH]; }
}

// The products of eight elements of a row with those of a set.
fn eightProducts(held: ptr<private, array<Rows, PLACES>>, c: u32, w: Eight) -> Rows {
  return (((*held)[c] * w.near.x + (*held)[c + 1u] * w.near.y) + ((*held)[c + 2u] * w.near.z + (*held)[c + 3u] * w.near.w))
    + (((*held)[c + 4u] * w.far.x + (*held)[c + 5u] * w.far.y) + ((*held)[c + 6u] * w.far.z + (*held)[c + 7u] * w.far.w));
}

fn products8(held: ptr<private, array<Rows, PLACES>>, c: u32, own: vec2<f32>) -> Own {
  let w = spreadEight(own);
  if (SETS == 1u) { return Own(eightProducts(held, c, w), Rows()); }
  return Own(eightProducts(held, c, w), eightProducts(held, WIDTH + c, w));
}

fn plus(a: Own, b: Own) -> Own {
  if (SETS == 1u) { return Own(a.first + b.first, Rows()); }
  return Own(a.first + b.first, a.second + b.second);
}

fn products16(held: ptr<private, array<Rows, PLACES>>, row: ptr<private, array<vec2<f32>, EIGHTS>>, c: u32) -> Own {
  return plus(products8(held, c, (*row)[c / 8u]), products8(held, c + 8u, (*row)[c / 8u + 1u]));
}

// The sum and the products of sixteen more elements, added one after the other: a tree of sums takes 1.5 times as long on lavapipe.
fn plus16(held: ptr<private, array<Rows, PLACES>>, row: ptr<private, array<vec2<f32>, EIGHTS>>, sum: Own, c: u32) -> Own {
  return plus(plus(sum, products8(held, c, (*row)[c / 8u])), products8(held, c + 8u, (*row)[c / 8u + 1u]));
}

// The products of a row with all keys, or values, of a lane.
fn allProducts(held: ptr<private, array<Rows, PLACES>>, row: ptr<private, array<vec2<f32>, EIGHTS>>) -> Own {
  var sum = products16(held, row, 0u);
  if (WIDTH > 16u) { sum = plus16(held, row, sum, 16u); }
  if (WIDTH > 32u) { sum = plus16(held, row, sum, 32u); }
  if (WIDTH > 48u) { sum = plus16(held, row, sum, 48u); }
  if (WIDTH > 64u) { sum = plus16(held, row, sum, 64u); }
  if (WIDTH > 80u) { sum = plus16(held, row, sum, 80u); }
  if (WIDTH > 96u) { sum = plus16(held, row, sum, 96u); }
  if (WIDTH > 112u) { sum = plus16(held, row, sum, 112u); }
  return sum;
}

fn addOuter(sums: ptr<private, array<Rows, PLACES>>, c: u32, s: Rows, w: Eight) {
  (*sums)[c] += s * w.near.x;
  (*sums)[c + 1u] += s * w.near.y;
  (*sums)[c + 2u] += s * w.near.z;
  (*sums)[c + 3u] += s * w.near.w;
  (*sums)[c + 4u] += s * w.far.x;
  (*sums)[c + 5u] += s * w.far.y;
  (*sums)[c + 6u] += s * w.far.z;
  (*sums)[c + 7u] += s * w.far.w;
}

fn add8(sums: ptr<private, array<Rows, PLACES>>, c: u32, s: Own, own: vec2<f32>) {
  let w = spreadEight(own);
  addOuter(sums, c, s.first, w);
  if (SETS > 1u) { addOuter(sums, WIDTH + c, s.second, w); }
}

fn add16(sums: ptr<private, array<Rows, PLACES>>, row: ptr<private, array<vec2<f32>, EIGHTS>>, c: u32, s: Own) {
  add8(sums, c, s, (*row)[c / 8u]);
  add8(sums, c + 8u, s, (*row)[c / 8u + 1u]);
}

// Adds a row, times a number of each key, to the sums of these keys.
fn addRow(sums: ptr<private, array<Rows, PLACES>>, row: ptr<private, array<vec2<f32>, EIGHTS>>, s: Own) {
  add16(sums, row, 0u, s);
  if (WIDTH > 16u) { add16(sums, row, 16u, s); }
  if (WIDTH > 32u) { add16(sums, row, 32u, s); }
  if (WIDTH > 48u) { add16(sums, row, 48u, s); }
  if (WIDTH > 64u) { add16(sums, row, 64u, s); }
  if (WIDTH > 80u) { add16(sums, row, 80u, s); }
  if (WIDTH > 96u) { add16(sums, row, 96u, s); }
  if (WIDTH > 112u) { add16(sums, row, 112u, s); }
}

// Moves eight sums into the long sums.
fn foldSums8(c: u32) {
  longDk[c] += dk[c];
  dk[c] = Rows();
  longDk[c + 1u] += dk[c + 1u];
  dk[c + 1u] = Rows();
  longDk[c + 2u] += dk[c + 2u];
  dk[c + 2u] = Rows();
  longDk[c + 3u] += dk[c + 3u];
  dk[c + 3u] = Rows();
  longDk[c + 4u] += dk[c + 4u];
  dk[c + 4u] = Rows();
  longDk[c + 5u] += dk[c + 5u];
  dk[c + 5u] = Rows();
  longDk[c + 6u] += dk[c + 6u];
  dk[c + 6u] = Rows();
  longDk[c + 7u] += dk[c + 7u];
  dk[c + 7u] = Rows();
  longDv[c] += dv[c];
  dv[c] = Rows();
  longDv[c + 1u] += dv[c + 1u];
  dv[c + 1u] = Rows();
  longDv[c + 2u] += dv[c + 2u];
  dv[c + 2u] = Rows();
  longDv[c + 3u] += dv[c + 3u];
  dv[c + 3u] = Rows();
  longDv[c + 4u] += dv[c + 4u];
  dv[c + 4u] = Rows();
  longDv[c + 5u] += dv[c + 5u];
  dv[c + 5u] = Rows();
  longDv[c + 6u] += dv[c + 6u];
  dv[c + 6u] = Rows();
  longDv[c + 7u] += dv[c + 7u];
  dv[c + 7u] = Rows();
}

fn foldSums16(c: u32) {
  foldSums8(c);
  foldSums8(c + 8u);
  if (SETS > 1u) {
    foldSums8(WIDTH + c);
    foldSums8(WIDTH + c + 8u);
  }
}

fn foldSums() {
  foldSums16(0u);
  if (WIDTH > 16u) { foldSums16(16u); }
  if (WIDTH > 32u) { foldSums16(32u); }
  if (WIDTH > 48u) { foldSums16(48u); }
  if (WIDTH > 64u) { foldSums16(64u); }
  if (WIDTH > 80u) { foldSums16(80u); }
  if (WIDTH > 96u) { foldSums16(96u); }
  if (WIDTH > 112u) { foldSums16(112u); }
}

// A lane's own part of the gradient of a query, at place c.
fn partOf(c: u32, ds: Own) -> f32 {
  if (SETS == 1u) { return dot(ds.first, x[c]); }
  return dot(ds.first, x[c]) + dot(ds.second, x[WIDTH + c]);
}

// Adds to element d of a query's gradient, unless these are the first keys.
fn addTo(at: u32, sum: f32, begun: bool) {
  gradients[at] = sum * LN2 + select(0.0, gradients[at], begun);
}

fn addQuery8(at: u32, c: u32, m: u32, ds: Own, begun: bool, stores: bool) {
  let near = collect(vec4(partOf(c, ds), partOf(c + 1u, ds), partOf(c + 2u, ds), partOf(c + 3u, ds)));
  let far = collect(vec4(partOf(c + 4u, ds), partOf(c + 5u, ds), partOf(c + 6u, ds), partOf(c + 7u, ds)));
  if (NARROW) {
    if (isInside(c + m)) { addTo(at + c + m, near, begun); }
    if (isInside(c + 4u + m)) { addTo(at + c + 4u + m, far, begun); }
    return;
  }
  var sum = near + subgroupShuffleXor(far, 4u);
  if (LANES > 8u) { sum += subgroupShuffleXor(sum, 8u); }
  if (LANES > 16u) { sum += subgroupShuffleXor(sum, 16u); }
  if (stores && isInside(c + m)) { addTo(at + c + m, sum, begun); }
}

fn addQuery16(at: u32, c: u32, m: u32, ds: Own, begun: bool, stores: bool) {
  addQuery8(at, c, m, ds, begun, stores);
  addQuery8(at, c + 8u, m, ds, begun, stores);
}

// Adds the part of a block's keys to the gradient of a query.
fn addQuery(at: u32, m: u32, ds: Own, begun: bool, stores: bool) {
  addQuery16(at, 0u, m, ds, begun, stores);
  if (WIDTH > 16u) { addQuery16(at, 16u, m, ds, begun, stores); }
  if (WIDTH > 32u) { addQuery16(at, 32u, m, ds, begun, stores); }
  if (WIDTH > 48u) { addQuery16(at, 48u, m, ds, begun, stores); }
  if (WIDTH > 64u) { addQuery16(at, 64u, m, ds, begun, stores); }
  if (WIDTH > 80u) { addQuery16(at, 80u, m, ds, begun, stores); }
  if (WIDTH > 96u) { addQuery16(at, 96u, m, ds, begun, stores); }
  if (WIDTH > 112u) { addQuery16(at, 112u, m, ds, begun, stores); }
}

// NaN where a sum of exponentials is not finite, else 0. The test is of the bits because drivers differ on exponentials of NaN.
fn spoiledBy(lse: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(0.0, bitcast<f32>(nan), (bitcast<u32>(lse) & 0x7fffffffu) >= 0x7f800000u);
}

// 1 for each row of a set that there is, else 0.
fn existing(row: vec4<u32>) -> Rows {
  var there: Rows;
  for (var i = 0u; i < ROWS; i++) { there[i] = select(0.0, 1.0, row[i] < params.keys); }
  return there;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let head = wid.y * groups.x + wid.x; // of [B, H]
  if (head >= params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let b = head / params.heads;
  let h = head % params.heads;
  let m = lane % GROUP;
  let q0 = own.x + params.q.x + b * params.q.y + h * params.q.z;
  let out0 = own.w + params.out.x + b * params.out.y + h * params.out.z;
  let dOut0 = rest.x + params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  let dq0 = rest.z + params.dq.x + b * params.dq.y + h * params.dq.z;
  let lse0 = rest.y + head * params.queries;
  let delta0 = lse0 + deltaStart();
  // Each lane stores the deltas, all of them the same, so that it needs no barrier to read them.
  for (var i = 0u; i < params.queries; i++) {
    var delta = 0.0;
    for (var c = 0u; c < params.width; c += 8u) {
      delta += dot(ownGradient(dOut0 + i * params.dOut.w, c + m), ownOut(out0 + i * params.out.w, c + m));
    }
    delta += quadSwapX(delta);
    delta += quadSwapY(delta);
    if (!NARROW) { delta += subgroupShuffleXor(delta, 4u); }
    statistics[delta0 + i] = delta;
  }

  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  // This is WIDTH, but only known at run time, so drivers do not unroll the loops, which costs seconds of compilation.
  let room = min(WIDTH, params.width + 15u);
  for (var key = 0u; key < params.keys; key += SETS * LANES * ROWS) {
    for (var half = 0u; half < SETS; half++) {
      let row = min(key + half * LANES * ROWS + local + LANES * vec4(0u, 1u, 2u, 3u), vec4(params.keys - 1u));
      let kAt = own.y + rowStarts(params.k, b, h, row);
      let vAt = own.z + rowStarts(params.v, b, h, row);
      for (var c = 0u; c < room; c++) {
        let place = half * WIDTH + c;
        x[place] = scaledKeys(kAt, c ^ m, params.scale * LOG2E);
        y[place] = ownValues(vAt, c ^ m);
        dk[place] = Rows();
        dv[place] = Rows();
        if (LONG) {
          longDk[place] = Rows();
          longDv[place] = Rows();
        }
      }
    }
    let firstRow = key + local + LANES * vec4(0u, 1u, 2u, 3u); // of which the first ROWS count
    let there = Own(existing(firstRow), existing(firstRow + LANES * ROWS));
    var spoiled = 0.0;
    var i = 0u;
    loop {
      let stop = select(params.queries, min(i + FOLD, params.queries), LONG);
      for (; i < stop; i++) {
        loadRow(q0 + i * params.q.w, dOut0 + i * params.dOut.w, m);
        let lse = statistics[lse0 + i];
        let delta = statistics[delta0 + i];
        var s: Own;
        var p: Own;
        if (always) { s = allProducts(&x, &qRow); }
        if (always) { p = allProducts(&y, &gRow); }
        s.first = exp2(s.first - lse * LOG2E) * there.first;
        p.first = s.first * (p.first - delta);
        if (SETS > 1u) {
          s.second = exp2(s.second - lse * LOG2E) * there.second;
          p.second = s.second * (p.second - delta);
        }
        let nan = spoiledBy(lse);
        spoiled += nan;
        p = plus(p, Own(Rows(nan), Rows(nan)));
        if (always) { addRow(&dk, &qRow, p); }
        if (always) { addRow(&dv, &gRow, s); }
        if (always) { addQuery(dq0 + i * params.dq.w, m, p, key > 0u, lane < GROUP); }
      }
      if (!LONG) { break; }
      foldSums();
      if (i >= params.queries) { break; }
    }
    for (var half = 0u; half < SETS; half++) {
      let row = firstRow + half * LANES * ROWS;
      let dkAt = rest.z + rowStarts(params.dk, b, h, row);
      let dvAt = rest.z + rowStarts(params.dv, b, h, row);
      for (var c = 0u; c < room; c++) {
        let place = half * WIDTH + c;
        var sums = Own(dk[place], dv[place]);
        if (LONG) { sums = Own(longDk[place], longDv[place]); }
        storeSlice(sums.first * params.scale, row, dkAt, c ^ m);
        storeSlice(sums.second + spoiled, row, dvAt, c ^ m);
      }
    }
  }
}
