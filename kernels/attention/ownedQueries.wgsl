// All three gradients of attention (2205.14135) for devices that gather private arrays lane by lane unless an index is a constant
// (SwiftShader), where rows lie in aligned fours; ownedKeys.wgsl says how lanes share loads, and what costs time. A workgroup passes over a
// head's keys for each block of queries, which lanes own: scores, their gradients, and the block's parts of the gradients of a key and its
// value are sums that no array holds, and these parts are added to memory. Only the gradients of queries are sums in private arrays, to which
// four keys are added at once, after a chunk of keys.
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
// The keys of a chunk, and the keys whose parts of the gradients of queries are one chain of additions.
const CHUNK: u32 = 64u;
const FOLD: u32 = 256u;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;
// A log-sum-exp whose probabilities are 0.
const HIGHEST: f32 = 3.4028234663852886e38;

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

// The queries, scaled, by fours of a row, and the gradients of their outputs, all 0 past the width.
var<private> queryFours: array<vec4<f32>, ROWS * WIDTH / 4u>;
var<private> gradientFours: array<vec4<f32>, ROWS * WIDTH / 4u>;
// The same by sets.
var<private> ownQueries: array<vec4<f32>, SETS * WIDTH>;
var<private> ownGradients: array<vec4<f32>, SETS * WIDTH>;
// The gradients of the queries, by sets.
var<private> sums: array<vec4<f32>, SETS * WIDTH>;
// Log-sum-exps and deltas of the queries, NaN where their scores spoil all and else 0, and the gradients of the scores of a chunk.
var<private> lseOf: array<vec4<f32>, SETS>;
var<private> spoiled: array<vec4<f32>, SETS>;
var<private> deltaOf: array<vec4<f32>, SETS>;
var<private> scoreGradients: array<vec4<f32>, SETS * CHUNK>;

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

// Loads query number n of a lane and the gradient of its output. Returns the sum of the products of that with the output.
fn loadOwnQuery(n: u32, qAt: u32, outAt: u32, dOutAt: u32, room: u32, e: u32) -> f32 {
  var delta = 0.0;
  for (var place = 0u; place < room; place += 4u) {
    let four = (place / 4u) ^ e;
    let there = hasFour(four);
    let at = select(0u, four, there);
    let query = select(vec4<f32>(), q[qAt / 4u + at] * (params.scale * LOG2E), there);
    let gradient = select(vec4<f32>(), dOut[dOutAt / 4u + at], there);
    delta += select(0.0, dot(gradient, out[outAt / 4u + at]), there);
    queryFours[place / 4u * ROWS + n] = query;
    gradientFours[place / 4u * ROWS + n] = gradient;
    for (var i = 0u; i < 4u; i++) {
      ownQueries[(place + i) * SETS + n / 4u][n % 4u] = query[i];
      ownGradients[(place + i) * SETS + n / 4u][n % 4u] = gradient[i];
    }
  }
  return delta;
}

fn queryProducts(w: vec4<f32>, at: u32) -> vec4<f32> {
  return vec4(dot(w, queryFours[at]), dot(w, queryFours[at + 1u]), dot(w, queryFours[at + 2u]), dot(w, queryFours[at + 3u]));
}

// The sums and the products of a four of a key with those of all queries of a lane.
fn plusKeyFour(sum: OwnSets, four: u32, w: vec4<f32>) -> OwnSets {
  let at = four * ROWS;
  let a = sum.a + queryProducts(w, at);
  if (SETS == 1u) { return OwnSets(a, sum.b, sum.c, sum.d); }
  let b = sum.b + queryProducts(w, at + 4u);
  if (SETS == 2u) { return OwnSets(a, b, sum.c, sum.d); }
  let c = sum.c + queryProducts(w, at + 8u);
  if (SETS == 3u) { return OwnSets(a, b, c, sum.d); }
  return OwnSets(a, b, c, sum.d + queryProducts(w, at + 12u));
}

fn plusKey16(sum: OwnSets, c: u32, at: u32, e: u32) -> OwnSets {
  let number = c / 4u + e;
  let w = select(vec4<f32>(), k[at / 4u + select(0u, number, hasFour(number))], hasFour(number)); // not infinity times 0
  let half = plusKeyFour(plusKeyFour(sum, c / 4u, w), c / 4u + 1u, quadSwapX(w));
  return plusKeyFour(plusKeyFour(half, c / 4u + 2u, quadSwapY(w)), c / 4u + 3u, quadSwapDiagonal(w));
}

// The scores of the queries of a lane with the key that begins at `at`.
fn keyScoresOf(at: u32, e: u32) -> OwnSets {
  var sum = plusKey16(OwnSets(), 0u, at, e);
  if (WIDTH > 16u) { sum = plusKey16(sum, 16u, at, e); }
  if (WIDTH > 32u) { sum = plusKey16(sum, 32u, at, e); }
  if (WIDTH > 48u) { sum = plusKey16(sum, 48u, at, e); }
  if (WIDTH > 64u) { sum = plusKey16(sum, 64u, at, e); }
  if (WIDTH > 80u) { sum = plusKey16(sum, 80u, at, e); }
  if (WIDTH > 96u) { sum = plusKey16(sum, 96u, at, e); }
  if (WIDTH > 112u) { sum = plusKey16(sum, 112u, at, e); }
  return sum;
}

fn outGradientProducts(w: vec4<f32>, at: u32) -> vec4<f32> {
  return vec4(dot(w, gradientFours[at]), dot(w, gradientFours[at + 1u]), dot(w, gradientFours[at + 2u]), dot(w, gradientFours[at + 3u]));
}

// The same of a four of a value and the gradients of outputs.
fn plusGradientFour(sum: OwnSets, four: u32, w: vec4<f32>) -> OwnSets {
  let at = four * ROWS;
  let a = sum.a + outGradientProducts(w, at);
  if (SETS == 1u) { return OwnSets(a, sum.b, sum.c, sum.d); }
  let b = sum.b + outGradientProducts(w, at + 4u);
  if (SETS == 2u) { return OwnSets(a, b, sum.c, sum.d); }
  let c = sum.c + outGradientProducts(w, at + 8u);
  if (SETS == 3u) { return OwnSets(a, b, c, sum.d); }
  return OwnSets(a, b, c, sum.d + outGradientProducts(w, at + 12u));
}

fn plusGradient16(sum: OwnSets, c: u32, at: u32, e: u32) -> OwnSets {
  let number = c / 4u + e;
  let w = select(vec4<f32>(), v[at / 4u + select(0u, number, hasFour(number))], hasFour(number)); // not infinity times 0
  let half = plusGradientFour(plusGradientFour(sum, c / 4u, w), c / 4u + 1u, quadSwapX(w));
  return plusGradientFour(plusGradientFour(half, c / 4u + 2u, quadSwapY(w)), c / 4u + 3u, quadSwapDiagonal(w));
}

// The gradients of the probabilities of the value that begins at `at`.
fn weightGradients(at: u32, e: u32) -> OwnSets {
  var sum = plusGradient16(OwnSets(), 0u, at, e);
  if (WIDTH > 16u) { sum = plusGradient16(sum, 16u, at, e); }
  if (WIDTH > 32u) { sum = plusGradient16(sum, 32u, at, e); }
  if (WIDTH > 48u) { sum = plusGradient16(sum, 48u, at, e); }
  if (WIDTH > 64u) { sum = plusGradient16(sum, 64u, at, e); }
  if (WIDTH > 80u) { sum = plusGradient16(sum, 80u, at, e); }
  if (WIDTH > 96u) { sum = plusGradient16(sum, 96u, at, e); }
  if (WIDTH > 112u) { sum = plusGradient16(sum, 112u, at, e); }
  return sum;
}

// A lane's own part of the gradient of a key, at place c.
fn keyPart(p: OwnSets, c: u32) -> f32 {
  let at = c * SETS;
  let a = dot(p.a, ownQueries[at]);
  if (SETS == 1u) { return a; }
  let b = a + dot(p.b, ownQueries[at + 1u]);
  if (SETS == 2u) { return b; }
  let c3 = b + dot(p.c, ownQueries[at + 2u]);
  if (SETS == 3u) { return c3; }
  return c3 + dot(p.d, ownQueries[at + 3u]);
}

// The sum of all lanes' parts, of another element in each lane.
fn keyElement(p: OwnSets, c: u32) -> f32 {
  let half = keyPart(p, c) + quadSwapX(keyPart(p, c + 4u));
  return (half + quadSwapY(keyPart(p, c + 8u))) + quadSwapDiagonal(keyPart(p, c + 12u));
}

// Four elements in each lane, of sixteen that begin at place c.
fn keyFours(p: OwnSets, c: u32) -> vec4<f32> {
  return vec4(keyElement(p, c), keyElement(p, c + 1u), keyElement(p, c + 2u), keyElement(p, c + 3u));
}

// A lane's own part of the gradient of a value, at place c.
fn valuePart(p: OwnSets, c: u32) -> f32 {
  let at = c * SETS;
  let a = dot(p.a, ownGradients[at]);
  if (SETS == 1u) { return a; }
  let b = a + dot(p.b, ownGradients[at + 1u]);
  if (SETS == 2u) { return b; }
  let c3 = b + dot(p.c, ownGradients[at + 2u]);
  if (SETS == 3u) { return c3; }
  return c3 + dot(p.d, ownGradients[at + 3u]);
}

// The sum of all lanes' parts, of another element in each lane.
fn valueElement(p: OwnSets, c: u32) -> f32 {
  let half = valuePart(p, c) + quadSwapX(valuePart(p, c + 4u));
  return (half + quadSwapY(valuePart(p, c + 8u))) + quadSwapDiagonal(valuePart(p, c + 12u));
}

// Four elements in each lane, of sixteen that begin at place c.
fn valueFours(p: OwnSets, c: u32) -> vec4<f32> {
  return vec4(valueElement(p, c), valueElement(p, c + 1u), valueElement(p, c + 2u), valueElement(p, c + 3u));
}

// Adds to a four in memory, unless these are the first queries.
fn addToFour(at: u32, number: u32, sum: vec4<f32>, begun: bool) {
  if (hasFour(number)) { gradients[at / 4u + number] = select(vec4<f32>(), gradients[at / 4u + number], begun) + sum; }
}

// Adds the part of a lane's queries, with gradients ds of their scores, to the gradient of a key.
fn addKey(ds: OwnSets, at: u32, e: u32, begun: bool) {
  addToFour(at, 0u / 4u + e, keyFours(ds, 0u) * LN2, begun);
  if (WIDTH > 16u) { addToFour(at, 16u / 4u + e, keyFours(ds, 16u) * LN2, begun); }
  if (WIDTH > 32u) { addToFour(at, 32u / 4u + e, keyFours(ds, 32u) * LN2, begun); }
  if (WIDTH > 48u) { addToFour(at, 48u / 4u + e, keyFours(ds, 48u) * LN2, begun); }
  if (WIDTH > 64u) { addToFour(at, 64u / 4u + e, keyFours(ds, 64u) * LN2, begun); }
  if (WIDTH > 80u) { addToFour(at, 80u / 4u + e, keyFours(ds, 80u) * LN2, begun); }
  if (WIDTH > 96u) { addToFour(at, 96u / 4u + e, keyFours(ds, 96u) * LN2, begun); }
  if (WIDTH > 112u) { addToFour(at, 112u / 4u + e, keyFours(ds, 112u) * LN2, begun); }
}

fn addValue(p: OwnSets, at: u32, e: u32, begun: bool) {
  addToFour(at, 0u / 4u + e, valueFours(p, 0u), begun);
  if (WIDTH > 16u) { addToFour(at, 16u / 4u + e, valueFours(p, 16u), begun); }
  if (WIDTH > 32u) { addToFour(at, 32u / 4u + e, valueFours(p, 32u), begun); }
  if (WIDTH > 48u) { addToFour(at, 48u / 4u + e, valueFours(p, 48u), begun); }
  if (WIDTH > 64u) { addToFour(at, 64u / 4u + e, valueFours(p, 64u), begun); }
  if (WIDTH > 80u) { addToFour(at, 80u / 4u + e, valueFours(p, 80u), begun); }
  if (WIDTH > 96u) { addToFour(at, 96u / 4u + e, valueFours(p, 96u), begun); }
  if (WIDTH > 112u) { addToFour(at, 112u / 4u + e, valueFours(p, 112u), begun); }
}

// Numbers of one set for each of four keys.
struct SetOfFour { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }

// The sums of four elements times a set's numbers, each by itself, since vectors spill.
fn weightedSet(s: SetOfFour, w: vec4<f32>) -> vec4<f32> {
  return vec4(
    (s.a.x * w.x + s.b.x * w.y) + (s.c.x * w.z + s.d.x * w.w), (s.a.y * w.x + s.b.y * w.y) + (s.c.y * w.z + s.d.y * w.w),
    (s.a.z * w.x + s.b.z * w.y) + (s.c.z * w.z + s.d.z * w.w), (s.a.w * w.x + s.b.w * w.y) + (s.c.w * w.z + s.d.w * w.w),
  );
}

// The gradients of a set's scores with four keys of a chunk.
fn setOf(number: u32, i: u32) -> SetOfFour {
  let at = i * SETS + number;
  return SetOfFour(scoreGradients[at], scoreGradients[at + SETS], scoreGradients[at + 2u * SETS], scoreGradients[at + 3u * SETS]);
}

// Gradients of the scores of all sets of a lane with four keys.
struct SetsOfFour { a: SetOfFour, b: SetOfFour, c: SetOfFour, d: SetOfFour }

fn gradientsOf(i: u32) -> SetsOfFour {
  let a = setOf(0u, i);
  if (SETS == 1u) { return SetsOfFour(a, a, a, a); }
  let b = setOf(1u, i);
  if (SETS == 2u) { return SetsOfFour(a, b, a, a); }
  let c = setOf(2u, i);
  if (SETS == 3u) { return SetsOfFour(a, b, c, a); }
  return SetsOfFour(a, b, c, setOf(3u, i));
}

// Adds an element of four keys to the gradients of queries at a place.
fn addOne(s: SetsOfFour, c: u32, w: vec4<f32>) {
  sums[c * SETS] += weightedSet(s.a, w);
  if (SETS > 1u) { sums[c * SETS + 1u] += weightedSet(s.b, w); }
  if (SETS > 2u) { sums[c * SETS + 2u] += weightedSet(s.c, w); }
  if (SETS > 3u) { sums[c * SETS + 3u] += weightedSet(s.d, w); }
}

fn addFour(s: SetsOfFour, c: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
  addOne(s, c, vec4(w0.x, w1.x, w2.x, w3.x));
  addOne(s, c + 1u, vec4(w0.y, w1.y, w2.y, w3.y));
  addOne(s, c + 2u, vec4(w0.z, w1.z, w2.z, w3.z));
  addOne(s, c + 3u, vec4(w0.w, w1.w, w2.w, w3.w));
}

fn addFourKeys16(s: SetsOfFour, c: u32, at: vec4<u32>, e: u32) {
  let number = c / 4u + e;
  let i = at / 4u + select(0u, number, hasFour(number));
  let w0 = k[i.x];
  let w1 = k[i.y];
  let w2 = k[i.z];
  let w3 = k[i.w];
  addFour(s, c, w0, w1, w2, w3);
  addFour(s, c + 4u, quadSwapX(w0), quadSwapX(w1), quadSwapX(w2), quadSwapX(w3));
  addFour(s, c + 8u, quadSwapY(w0), quadSwapY(w1), quadSwapY(w2), quadSwapY(w3));
  addFour(s, c + 12u, quadSwapDiagonal(w0), quadSwapDiagonal(w1), quadSwapDiagonal(w2), quadSwapDiagonal(w3));
}

// Adds four keys, times the gradients of their scores, to the gradients of a lane's queries.
fn addFourKeys(s: SetsOfFour, at: vec4<u32>, e: u32) {
  addFourKeys16(s, 0u, at, e);
  if (WIDTH > 16u) { addFourKeys16(s, 16u, at, e); }
  if (WIDTH > 32u) { addFourKeys16(s, 32u, at, e); }
  if (WIDTH > 48u) { addFourKeys16(s, 48u, at, e); }
  if (WIDTH > 64u) { addFourKeys16(s, 64u, at, e); }
  if (WIDTH > 80u) { addFourKeys16(s, 80u, at, e); }
  if (WIDTH > 96u) { addFourKeys16(s, 96u, at, e); }
  if (WIDTH > 112u) { addFourKeys16(s, 112u, at, e); }
}

// The probabilities of a set's queries from their scores.
fn probabilities(s: vec4<f32>, number: u32) -> vec4<f32> {
  return exp2(s - lseOf[number]) + spoiled[number];
}

fn allProbabilities(s: OwnSets) -> OwnSets {
  let a = probabilities(s.a, 0u);
  if (SETS == 1u) { return OwnSets(a, s.b, s.c, s.d); }
  let b = probabilities(s.b, 1u);
  if (SETS == 2u) { return OwnSets(a, b, s.c, s.d); }
  let c = probabilities(s.c, 2u);
  if (SETS == 3u) { return OwnSets(a, b, c, s.d); }
  return OwnSets(a, b, c, probabilities(s.d, 3u));
}

// The gradients of scores from probabilities and their gradients.
fn throughSoftmax(p: OwnSets, dp: OwnSets) -> OwnSets {
  let a = p.a * (dp.a - deltaOf[0]);
  if (SETS == 1u) { return OwnSets(a, p.b, p.c, p.d); }
  let b = p.b * (dp.b - deltaOf[min(1u, SETS - 1u)]);
  if (SETS == 2u) { return OwnSets(a, b, p.c, p.d); }
  let c = p.c * (dp.c - deltaOf[min(2u, SETS - 1u)]);
  if (SETS == 3u) { return OwnSets(a, b, c, p.d); }
  return OwnSets(a, b, c, p.d * (dp.d - deltaOf[SETS - 1u]));
}

// Keeps the gradients of the scores with key i of a chunk.
fn keep(ds: OwnSets, i: u32) {
  scoreGradients[i * SETS] = ds.a;
  if (SETS > 1u) { scoreGradients[i * SETS + 1u] = ds.b; }
  if (SETS > 2u) { scoreGradients[i * SETS + 2u] = ds.c; }
  if (SETS > 3u) { scoreGradients[i * SETS + 3u] = ds.d; }
}

// NaN where a sum of exponentials is not finite, else 0. The test is of the bits because drivers differ on exponentials of NaN.
fn spoiledBy(lse: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(0.0, bitcast<f32>(nan), (bitcast<u32>(lse) & 0x7fffffffu) >= 0x7f800000u);
}

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
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
  let e = lane & 3u;
  let k0 = own.y + startOfRow(params.k, b, h, 0u);
  let v0 = own.z + startOfRow(params.v, b, h, 0u);
  let dk0 = rest.z + startOfRow(params.dk, b, h, 0u);
  let dv0 = rest.z + startOfRow(params.dv, b, h, 0u);
  let lse0 = rest.y + head * params.queries;
  // This is WIDTH, but only known at run time, so that drivers do not unroll the loops, which costs seconds of compilation.
  let room = min(WIDTH, (params.width + 15u) / 16u * 16u);
  // A branch that is always taken cuts the code into blocks that compile in seconds and keep what they need in registers.
  let always = params.width > 0u;
  for (var query = 0u; query < params.queries; query += LANES * ROWS) {
    for (var n = 0u; n < ROWS; n++) {
      let row = query + local + LANES * n;
      let at = min(row, params.queries - 1u);
      let qAt = own.x + startOfRow(params.q, b, h, at);
      let outAt = own.w + startOfRow(params.out, b, h, at);
      let delta = loadOwnQuery(n, qAt, outAt, rest.x + startOfRow(params.dOut, b, h, at), room, e);
      deltaOf[n / 4u][n % 4u] = delta;
      let lse = statistics[lse0 + at];
      lseOf[n / 4u][n % 4u] = select(HIGHEST, lse * LOG2E, row < params.queries);
      spoiled[n / 4u][n % 4u] = spoiledBy(lse);
      if (row < params.queries) { statistics[lse0 + deltaStart() + row] = delta; }
    }
    let begun = query > 0u;
    for (var part = 0u; part < params.keys; part += FOLD) {
      for (var i = 0u; i < room * SETS; i++) { sums[i] = vec4<f32>(); }
      for (var chunk = part; chunk < min(part + FOLD, params.keys); chunk += CHUNK) {
        let end = min(chunk + CHUNK, params.keys);
        for (var j = chunk; j < end; j++) {
          var s: OwnSets;
          var dp: OwnSets;
          if (always) { s = keyScoresOf(k0 + j * params.k.w, e); }
          if (always) { dp = weightGradients(v0 + j * params.v.w, e); }
          let p = allProbabilities(s);
          let ds = throughSoftmax(p, dp);
          keep(ds, j - chunk);
          if (always) { addValue(p, dv0 + j * params.dv.w, e, begun); }
          if (always) { addKey(ds, dk0 + j * params.dk.w, e, begun); }
        }
        for (var j = end; j < chunk + (end - chunk + 3u) / 4u * 4u; j++) { keep(OwnSets(), j - chunk); }
        for (var j = chunk; j < end; j += 4u) {
          let at = k0 + min(j + vec4(0u, 1u, 2u, 3u), vec4(params.keys - 1u)) * params.k.w;
          if (always) { addFourKeys(gradientsOf(j - chunk), at, e); }
        }
      }
      for (var n = 0u; n < ROWS; n++) {
        let row = query + local + LANES * n;
        let dqAt = rest.z + startOfRow(params.dq, b, h, row);
        for (var place = 0u; place < room && row < params.queries; place += 4u) {
          var sum: vec4<f32>;
          for (var i = 0u; i < 4u; i++) { sum[i] = sums[(place + i) * SETS + n / 4u][n % 4u]; }
          addToFour(dqAt, (place / 4u) ^ e, sum * params.scale, part > 0u);
        }
      }
    }
  }
}
