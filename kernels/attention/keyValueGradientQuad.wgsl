// Gradients of the keys and values where private arrays want constant places, laid out as the forward kernel (quad.wgsl), but
// a lane owns key rows and queries are handed round. Both gradients go to one buffer, each at its own offset and strides.
enable subgroups;

// Element type in memory; sums are f32.
alias Scalar = f32;
// A number for each key row of a lane.
alias Rows = vec4<f32>;
alias Sum = Rows;
alias Bits = vec4<u32>;
const ROWS: u32 = 4u;
const THIRD: u32 = min(2u, ROWS - 1u);
const FOURTH: u32 = ROWS - 1u;
// Workgroup size: the largest subgroup size, at least 4.
const LANES: u32 = 4u;
// Elements of a head's row at most, a multiple of 16, up to 128.
const WIDTH: u32 = 64u;
// The width is less than that: what lies behind a row must not get into the products.
const PADDED: bool = true;
// There are so many queries that rounding would show in one chain of additions: sums over FOLD queries are added up with compensation.
const LONG: bool = false;
const FOLD: u32 = 128u;
const LONG_WIDTH: u32 = select(1u, WIDTH, LONG);
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  q: vec4<u32>, // offset, then strides of batch, head and token
  k: vec4<u32>,
  v: vec4<u32>,
  dOut: vec4<u32>,
  dk: vec4<u32>,
  dv: vec4<u32>,
  batch: u32,
  heads: u32,
  queries: u32,
  keys: u32,
  width: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>;
@group(0) @binding(1) var<storage, read> k: array<Scalar>;
@group(0) @binding(2) var<storage, read> v: array<Scalar>;
@group(0) @binding(3) var<storage, read> dOut: array<Scalar>;
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<Scalar>;
@group(1) @binding(0) var<uniform> params: Params;

var<private> x: array<Rows, WIDTH>; // keys, scaled; 0 behind the width
var<private> y: array<Rows, WIDTH>; // values; 0 behind the width
var<private> dk: array<Rows, WIDTH>;
var<private> dv: array<Rows, WIDTH>;
var<private> longDk: array<Compensated, LONG_WIDTH>;
var<private> longDv: array<Compensated, LONG_WIDTH>;

// Numbers of four queries.
struct Four { a: Rows, b: Rows, c: Rows, d: Rows }

fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// Where rows begin.
fn starts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn isInside(d: u32) -> bool {
  return !PADDED || d < params.width;
}

fn keyRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(k[at.x + d]);
  element[1] = f32(k[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(k[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(k[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn valueRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = f32(v[at.x + d]);
  element[1] = f32(v[at.y + d]);
  if (ROWS > 2u) { element[THIRD] = f32(v[at.z + d]); }
  if (ROWS > 3u) { element[FOURTH] = f32(v[at.w + d]); }
  return select(Rows(), element, isInside(d));
}

fn load(k0: vec4<u32>, v0: vec4<u32>, c: u32, d: u32) {
  x[c] = keyRows(k0, d) * (params.scale * LOG2E);
  y[c] = valueRows(v0, d);
}

// Scores of the query that begins at `at`.
fn scores4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(q[at + c + e]), isInside(c + e)));
  return (x[c] * w.x + x[c + 1u] * w.y) + (x[c + 2u] * w.z + x[c + 3u] * w.w);
}

fn scores16(at: u32, c: u32, e: u32) -> Rows {
  return (scores4(at, c, e) + scores4(at, c + 4u, e)) + (scores4(at, c + 8u, e) + scores4(at, c + 12u, e));
}

fn scores(at: u32, e: u32) -> Rows {
  var sum = scores16(at, 0u, e);
  if (WIDTH > 16u) { sum += scores16(at, 16u, e); }
  if (WIDTH > 32u) { sum += scores16(at, 32u, e); }
  if (WIDTH > 48u) { sum += scores16(at, 48u, e); }
  if (WIDTH > 64u) { sum += scores16(at, 64u, e); }
  if (WIDTH > 80u) { sum += scores16(at, 80u, e); }
  if (WIDTH > 96u) { sum += scores16(at, 96u, e); }
  if (WIDTH > 112u) { sum += scores16(at, 112u, e); }
  return sum;
}

// Gradients of the probabilities, from the row of dOut that begins at `at`.
fn gradients4(at: u32, c: u32, e: u32) -> Rows {
  let w = share(select(0.0, f32(dOut[at + c + e]), isInside(c + e)));
  return (y[c] * w.x + y[c + 1u] * w.y) + (y[c + 2u] * w.z + y[c + 3u] * w.w);
}

fn gradients16(at: u32, c: u32, e: u32) -> Rows {
  return (gradients4(at, c, e) + gradients4(at, c + 4u, e)) + (gradients4(at, c + 8u, e) + gradients4(at, c + 12u, e));
}

fn gradients(at: u32, e: u32) -> Rows {
  var sum = gradients16(at, 0u, e);
  if (WIDTH > 16u) { sum += gradients16(at, 16u, e); }
  if (WIDTH > 32u) { sum += gradients16(at, 32u, e); }
  if (WIDTH > 48u) { sum += gradients16(at, 48u, e); }
  if (WIDTH > 64u) { sum += gradients16(at, 64u, e); }
  if (WIDTH > 80u) { sum += gradients16(at, 80u, e); }
  if (WIDTH > 96u) { sum += gradients16(at, 96u, e); }
  if (WIDTH > 112u) { sum += gradients16(at, 112u, e); }
  return sum;
}

// Adds four queries, weighted.
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

// Adds four rows of dOut, weighted.
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

// The sums that dk[c] and dv[c] are of.
fn summedDk(c: u32) -> Rows {
  if (LONG) { return longDk[c].sum - longDk[c].excess; }
  return dk[c];
}

fn summedDv(c: u32) -> Rows {
  if (LONG) { return longDv[c].sum - longDv[c].excess; }
  return dv[c];
}

// Element d of the rows that exist.
fn store(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (!isInside(d)) { return; }
  if (row.x < params.keys) { dkv[at.x + d] = Scalar(value[0]); }
  if (row.y < params.keys) { dkv[at.y + d] = Scalar(value[1]); }
  if (ROWS > 2u && row.z < params.keys) { dkv[at.z + d] = Scalar(value[THIRD]); }
  if (ROWS > 3u && row.w < params.keys) { dkv[at.w + d] = Scalar(value[FOURTH]); }
}

// NaN where the largest of the bits of log-sum-exps, without their signs, is one's, else 0: all probabilities of that query are NaN then,
// but 2^NaN is not NaN on every driver.
fn spoiled(bits: vec4<u32>) -> f32 {
  var nan = 0x7fc00000u; // a variable, because no constant expression may be NaN
  return select(0.0, bitcast<f32>(nan), any(bits > vec4(0x7f800000u)));
}

fn sizeBits(v: vec4<f32>) -> vec4<u32> {
  return bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
}

// A sum of many partial sums, and what rounding has added to it (Kahan 1965, doi:10.1145/363707.363723).
struct Compensated { sum: Sum, excess: Sum }

// value, but compilers must not know it: they would simplify a difference of sums. `zero` is 0.
fn opaque(value: Sum, zero: u32) -> Sum {
  return bitcast<Sum>(bitcast<Bits>(value) ^ Bits(zero));
}

fn fold(total: Compensated, part: Sum, zero: u32) -> Compensated {
  let term = part - total.excess;
  let sum = total.sum + term;
  return Compensated(sum, opaque(opaque(sum, zero) - total.sum, zero) - term);
}

// Written out, as all loops over the width.
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
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) subgroupLane: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.keys + LANES * ROWS - 1u) / (LANES * ROWS);
  if (group >= blocks * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let rest = wid.z * params.strides[1];
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let row = group % blocks * LANES * ROWS + lane + LANES * vec4(0u, 1u, 2u, 3u); // the first ROWS count
  let clamped = min(row, vec4(params.keys - 1u));
  let e = subgroupLane & 3u;
  let k0 = own.y + starts(params.k, b, h, clamped);
  let v0 = own.z + starts(params.v, b, h, clamped);
  for (var c = 0u; c < WIDTH; c += 4u) {
    load(k0, v0, c, c + e);
    load(k0, v0, c + 1u, c + (1u ^ e));
    load(k0, v0, c + 2u, c + (2u ^ e));
    load(k0, v0, c + 3u, c + (3u ^ e));
  }

  var qRow = own.x + params.q.x + b * params.q.y + h * params.q.z;
  var gRow = own.w + params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  let sums = rest.xy + head * params.queries;
  var bits = vec4<u32>();
  let zero = params.width >> 31u; // 0, but compilers do not know
  var j = 0u;
  loop {
    let stop = select(params.queries, min(j + FOLD, params.queries), LONG);
    for (; j < stop; j += 4u) {
      let last = params.queries - j - 1u;
      let t = min(vec4(0u, 1u, 2u, 3u), vec4(last));
      let qAt = qRow + t * params.q.w;
      let gAt = gRow + t * params.dOut.w;
      let i = sums.x + j + t;
      let logSum = vec4(lse[i.x], lse[i.y], lse[i.z], lse[i.w]) * LOG2E;
      bits = max(bits, sizeBits(logSum));
      // From scores to probabilities s, and from dOut * v to the gradient p of the scores.
      var s = Four(
        exp2(scores(qAt.x, e) - logSum.x), exp2(scores(qAt.y, e) - logSum.y),
        exp2(scores(qAt.z, e) - logSum.z), exp2(scores(qAt.w, e) - logSum.w),
      );
      if (last < 3u) {
        s.b = select(Rows(), s.b, last >= 1u);
        s.c = select(Rows(), s.c, last >= 2u);
        s.d = Rows();
      }
      let n = sums.y + j + t;
      let p = Four(
        s.a * (gradients(gAt.x, e) - delta[n.x]), s.b * (gradients(gAt.y, e) - delta[n.y]),
        s.c * (gradients(gAt.z, e) - delta[n.z]), s.d * (gradients(gAt.w, e) - delta[n.w]),
      );
      addQueries(p, qAt + e);
      addGradients(s, gAt + e);
      qRow += 4u * params.q.w;
      gRow += 4u * params.dOut.w;
    }
    if (!LONG) { break; }
    foldBothAll(zero);
    if (j >= params.queries) { break; }
  }

  let dk0 = rest.z + starts(params.dk, b, h, row);
  let dv0 = rest.z + starts(params.dv, b, h, row);
  let nan = spoiled(bits);
  for (var c = 0u; c < WIDTH; c += 4u) {
    for (var i = 0u; i < 4u; i++) {
      store(summedDk(c + i) * params.scale, row, dk0, c + (i ^ e));
      store(summedDv(c + i) + nan, row, dv0, c + (i ^ e));
    }
  }
}
