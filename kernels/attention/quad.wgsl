// Attention (2205.14135, with the online softmax of 1805.02867) for devices that gather private arrays lane by lane unless an index
// is a constant (SwiftShader). As in subgroup.wgsl a lane owns ROWS query rows, and a quad of lanes shares each load of K or V:
// with e the number of the lane in its quad, element c + e of four comes with the load and the others come by swaps. Place c + i of
// a lane's arrays holds element c + (i ^ e), so all lanes use the same places. Loops over the width are written out, so these
// places are constants.
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
// Whether rows are shorter than WIDTH. What lies past a row must not get into the scores.
const PADDED: bool = true;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 128u;
const LONG_WIDTH: u32 = select(1u, WIDTH, LONG);
// How far, in powers of two, a row's highest score may rise before its sums are scaled anew. Without scaling they are exact.
const SLACK: f32 = 20.0;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
// Whether query i of a head sees keys 0 to i alone.
const CAUSAL: bool = false;
// The kind of mask: 0 none, 1 numbers that are added to scores, where -infinity hides, 2 integers, where 0 hides.
const MASK: u32 = 0u;
const HIDES: bool = CAUSAL || MASK != 0u;
// Whether probabilities are dropped.
const DROPOUT: bool = false;
// Whether a head has the queries of several, params.period each, which share its keys.
const GROUPED: bool = false;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, // of the mask, from key to key
  period: u32,
  threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read_write> out: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

var<private> x: array<Rows, WIDTH>; // [width]: the queries, scaled, and 0 past the width
var<private> acc: array<Rows, WIDTH>;
var<private> longAcc: array<Compensated, LONG_WIDTH>;

// For each of four rows on the other side, a number for each of the lane's own rows.
struct Four { a: Rows, b: Rows, c: Rows, d: Rows }

// A lane's number, then those of the lanes ^ 1, ^ 2 and ^ 3 of its quad.
fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// The index of the first element of each of four rows of a head.
fn rowStarts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn isInside(d: u32) -> bool {
  return !PADDED || d < params.width;
}

// Element d of the queries of a lane, scaled.
fn query(at: vec4<u32>, d: u32, scale: f32) -> Rows {
  var element: Rows;
  element[0] = f32(q[at.x + d]);
  element[1] = f32(q[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(q[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(q[at.w + d]); }
  return select(Rows(), element * scale, isInside(d));
}

fn load4(at: vec4<u32>, c: u32, e: u32, scale: f32) {
  x[c] = query(at, c + e, scale);
  x[c + 1u] = query(at, c + (1u ^ e), scale);
  x[c + 2u] = query(at, c + (2u ^ e), scale);
  x[c + 3u] = query(at, c + (3u ^ e), scale);
}

fn load16(at: vec4<u32>, c: u32, e: u32, scale: f32) {
  load4(at, c, e, scale);
  load4(at, c + 4u, e, scale);
  load4(at, c + 8u, e, scale);
  load4(at, c + 12u, e, scale);
}

fn loadAll(at: vec4<u32>, e: u32, scale: f32) {
  load16(at, 0u, e, scale);
  if (WIDTH > 16u) { load16(at, 16u, e, scale); }
  if (WIDTH > 32u) { load16(at, 32u, e, scale); }
  if (WIDTH > 48u) { load16(at, 48u, e, scale); }
  if (WIDTH > 64u) { load16(at, 64u, e, scale); }
  if (WIDTH > 80u) { load16(at, 80u, e, scale); }
  if (WIDTH > 96u) { load16(at, 96u, e, scale); }
  if (WIDTH > 112u) { load16(at, 112u, e, scale); }
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

// Adds elements of four values, times their weights s, to places c to c + 3 of the sums.
fn addValues4(s: Four, at: vec4<u32>, c: u32) {
  let a = share(f32(v[at.x + c]));
  let b = share(f32(v[at.y + c]));
  let f = share(f32(v[at.z + c]));
  let g = share(f32(v[at.w + c]));
  acc[c] += (s.a * a.x + s.b * b.x) + (s.c * f.x + s.d * g.x);
  acc[c + 1u] += (s.a * a.y + s.b * b.y) + (s.c * f.y + s.d * g.y);
  acc[c + 2u] += (s.a * a.z + s.b * b.z) + (s.c * f.z + s.d * g.z);
  acc[c + 3u] += (s.a * a.w + s.b * b.w) + (s.c * f.w + s.d * g.w);
}

fn addValues16(s: Four, at: vec4<u32>, c: u32) {
  addValues4(s, at, c);
  addValues4(s, at, c + 4u);
  addValues4(s, at, c + 8u);
  addValues4(s, at, c + 12u);
}

fn addValues(s: Four, at: vec4<u32>) {
  addValues16(s, at, 0u);
  if (WIDTH > 16u) { addValues16(s, at, 16u); }
  if (WIDTH > 32u) { addValues16(s, at, 32u); }
  if (WIDTH > 48u) { addValues16(s, at, 48u); }
  if (WIDTH > 64u) { addValues16(s, at, 64u); }
  if (WIDTH > 80u) { addValues16(s, at, 80u); }
  if (WIDTH > 96u) { addValues16(s, at, 96u); }
  if (WIDTH > 112u) { addValues16(s, at, 112u); }
}

// The sums at place c.
fn summed(c: u32) -> Rows {
  if (LONG) { return longAcc[c].sum - longAcc[c].excess; }
  return acc[c];
}

// Stores element d of a lane's rows, but for those past the last row.
fn storeMaskedOut(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (!isInside(d)) { return; }
  if (row.x < params.queries) { out[at.x + d] = Scalar(value[0]); }
  if (row.y < params.queries) { out[at.y + d] = Scalar(value[1]); }
  if (ROWS > 2u && row.z < params.queries) { out[at.z + d] = Scalar(value[THIRD]); }
  if (ROWS > 3u && row.w < params.queries) { out[at.w + d] = Scalar(value[FOURTH]); }
}

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn rowsOrNaN(value: Rows, sum: Rows) -> Rows {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  var result = value;
  for (var i = 0u; i < ROWS; i++) {
    if (bitcast<u32>(sum[i]) - 1u >= 0x7f7fffffu) { result[i] = bitcast<f32>(nan); }
  }
  return result;
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

fn rescaled(total: Compensated, factor: Sum) -> Compensated {
  return Compensated(total.sum * factor, total.excess * factor);
}

// Moves elements of the sums into the long sums. This is written out, as all loops over the width are.
fn foldScaled4(c: u32, factor: Rows, zero: u32) {
  longAcc[c] = fold(rescaled(longAcc[c], factor), acc[c], zero);
  longAcc[c + 1u] = fold(rescaled(longAcc[c + 1u], factor), acc[c + 1u], zero);
  longAcc[c + 2u] = fold(rescaled(longAcc[c + 2u], factor), acc[c + 2u], zero);
  longAcc[c + 3u] = fold(rescaled(longAcc[c + 3u], factor), acc[c + 3u], zero);
  acc[c] = Rows();
  acc[c + 1u] = Rows();
  acc[c + 2u] = Rows();
  acc[c + 3u] = Rows();
}

fn foldScaled16(c: u32, factor: Rows, zero: u32) {
  foldScaled4(c, factor, zero);
  foldScaled4(c + 4u, factor, zero);
  foldScaled4(c + 8u, factor, zero);
  foldScaled4(c + 12u, factor, zero);
}

fn foldScaledAll(factor: Rows, zero: u32) {
  foldScaled16(0u, factor, zero);
  if (WIDTH > 16u) { foldScaled16(16u, factor, zero); }
  if (WIDTH > 32u) { foldScaled16(32u, factor, zero); }
  if (WIDTH > 48u) { foldScaled16(48u, factor, zero); }
  if (WIDTH > 64u) { foldScaled16(64u, factor, zero); }
  if (WIDTH > 80u) { foldScaled16(80u, factor, zero); }
  if (WIDTH > 96u) { foldScaled16(96u, factor, zero); }
  if (WIDTH > 112u) { foldScaled16(112u, factor, zero); }
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
  loadAll(own.x + rowStarts(params.q, b, h, min(row, vec4(params.queries - 1u))), e, params.scale * LOG2E);

  var top = Rows(LOWEST);
  var total = Rows();
  var longTop = top; // what the long sums are relative to
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var kRow = own.y + params.k.x + b * params.k.y + h * params.k.z;
  var vRow = own.z + params.v.x + b * params.v.y + h * params.v.z + e;
  var j = 0u;
  loop {
    let stop = select(params.keys, min(j + FOLD, params.keys), LONG);
    for (; j < stop; j += 4u) {
      let last = params.keys - j - 1u;
      let t = min(vec4(0u, 1u, 2u, 3u), vec4(last));
      let at = kRow + t * params.k.w;
      var s = Four(keyScores(at.x, e), keyScores(at.y, e), keyScores(at.z, e), keyScores(at.w, e));
      // Past the end the last key is repeated, which changes no maximum.
      let highest = max(max(s.a, s.b), max(s.c, s.d));
      if (any(highest > top + SLACK)) {
        let factor = exp2(top - max(top, highest));
        top = max(top, highest);
        total *= factor;
        if (j > 0u) { for (var d = 0u; d < WIDTH; d++) { acc[d] *= factor; } }
      }
      s.a = exp2(s.a - top);
      s.b = exp2(s.b - top);
      s.c = exp2(s.c - top);
      s.d = exp2(s.d - top);
      if (last < 3u) {
        s.b = select(Rows(), s.b, last >= 1u);
        s.c = select(Rows(), s.c, last >= 2u);
        s.d = Rows();
      }
      total += (s.a + s.b) + (s.c + s.d);
      addValues(s, vRow + t * params.v.w);
      kRow += 4u * params.k.w;
      vRow += 4u * params.v.w;
    }
    if (!LONG) { break; }
    let factor = select(exp2(longTop - top), Rows(1.0), longTop == top); // exp2(0.0) is not exactly 1 on every driver.
    longTop = top;
    foldScaledAll(factor, zero);
    longTotal = fold(rescaled(longTotal, factor), total, zero);
    total = Rows();
    if (j >= params.keys) { break; }
  }
  if (LONG) { total = longTotal.sum - longTotal.excess; }

  let inverse = rowsOrNaN(1.0 / total, total);
  let sum = rowsOrNaN((top + log2(total)) * LN2, total);
  let to = own.w + rowStarts(params.out, b, h, row);
  for (var c = 0u; c < WIDTH; c += 4u) {
    storeMaskedOut(summed(c) * inverse, row, to, c + e);
    storeMaskedOut(summed(c + 1u) * inverse, row, to, c + (1u ^ e));
    storeMaskedOut(summed(c + 2u) * inverse, row, to, c + (2u ^ e));
    storeMaskedOut(summed(c + 3u) * inverse, row, to, c + (3u ^ e));
  }
  for (var i = 0u; i < ROWS; i++) {
    if (row[i] < params.queries) { lse[rest.x + head * params.queries + row[i]] = sum[i]; }
  }
}
