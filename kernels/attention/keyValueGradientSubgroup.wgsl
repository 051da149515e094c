// Gradients of the keys and values on software devices, laid out as the forward kernel (subgroup.wgsl), but a lane owns key
// rows and 8 queries a step are handed round. Both gradients go to one buffer, each at its own offset and strides.
enable subgroups;

// A number for each key row of a lane.
alias Rows = vec4<f32>;
const ROWS: u32 = 4u;
const THIRD: u32 = min(2u, ROWS - 1u);
const FOURTH: u32 = ROWS - 1u;
// Workgroup size: the largest subgroup size.
const LANES: u32 = 4u;
// Subgroups may have only 4 lanes; else at least 8.
const NARROW: bool = true;
// Elements of a head's row at most, a multiple of 4.
const WIDTH: u32 = 64u;
// The width is no multiple of 4: what lies behind a row must not get into the products.
const PADDED: bool = true;
const LAST_LANE: u32 = select(7u, 3u, NARROW);
// The lane with the fifth of eight values, in the second load where there are two.
const HIGH: u32 = select(4u, 0u, NARROW);
const LOG2E: f32 = 1.4426950408889634;

struct Params {
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

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

struct Pair { first: vec4<f32>, second: vec4<f32> }
struct Slice { x0: Rows, x1: Rows, x2: Rows, x3: Rows }

fn share(own: f32) -> vec4<f32> {
  return vec4(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// Elements d ^ 0 … d ^ 3 of two rows of Q; d is this lane's own.
fn queryPair(first: u32, second: u32, d: u32) -> Pair {
  var own = q[first + d];
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = q[second + d];
    if (PADDED) { other = select(0.0, other, d < params.width); }
  } else {
    other = subgroupShuffleXor(own, 4u);
  }
  return Pair(share(own), share(other));
}

fn gradientPair(first: u32, second: u32, d: u32) -> Pair {
  var own = dOut[first + d];
  if (PADDED) { own = select(0.0, own, d < params.width); }
  var other: f32;
  if (NARROW) {
    other = dOut[second + d];
    if (PADDED) { other = select(0.0, other, d < params.width); }
  } else {
    other = subgroupShuffleXor(own, 4u);
  }
  return Pair(share(own), share(other));
}

fn product(x: Slice, w: vec4<f32>) -> Rows {
  return (x.x0 * w.x + x.x1 * w.y) + (x.x2 * w.z + x.x3 * w.w);
}

fn add(x: Slice, s: Rows, t: Rows, w: Pair) -> Slice {
  return Slice(
    x.x0 + (s * w.first.x + t * w.second.x), x.x1 + (s * w.first.y + t * w.second.y),
    x.x2 + (s * w.first.z + t * w.second.z), x.x3 + (s * w.first.w + t * w.second.w),
  );
}

// Where rows begin.
fn starts(view: vec4<u32>, b: u32, h: u32, row: vec4<u32>) -> vec4<u32> {
  return view.x + b * view.y + h * view.z + row * view.w;
}

fn keyRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = k[at.x + d];
  element[1] = k[at.y + d];
  if (ROWS > 2u) { element[THIRD] = k[at.z + d]; }
  if (ROWS > 3u) { element[FOURTH] = k[at.w + d]; }
  return element;
}

fn valueRows(at: vec4<u32>, d: u32) -> Rows {
  var element: Rows;
  element[0] = v[at.x + d];
  element[1] = v[at.y + d];
  if (ROWS > 2u) { element[THIRD] = v[at.z + d]; }
  if (ROWS > 3u) { element[FOURTH] = v[at.w + d]; }
  return element;
}

// Element d of the rows that exist.
fn store(value: Rows, row: vec4<u32>, at: vec4<u32>, d: u32) {
  if (row.x < params.keys) { dkv[at.x + d] = value[0]; }
  if (row.y < params.keys) { dkv[at.y + d] = value[1]; }
  if (ROWS > 2u && row.z < params.keys) { dkv[at.z + d] = value[THIRD]; }
  if (ROWS > 3u && row.w < params.keys) { dkv[at.w + d] = value[FOURTH]; }
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
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let row = group % blocks * LANES * ROWS + lane + LANES * vec4(0u, 1u, 2u, 3u); // the first ROWS count
  let e = subgroupLane & 3u;
  var flip = (subgroupLane >> 2u) & 1u;
  if (NARROW) { flip = 0u; }

  var x: array<Rows, WIDTH>; // keys, scaled; 0 behind the width
  var y: array<Rows, WIDTH>; // values; 0 behind the width
  var dk: array<Rows, WIDTH>;
  var dv: array<Rows, WIDTH>;
  let clamped = min(row, vec4(params.keys - 1u));
  let k0 = starts(params.k, b, h, clamped);
  let v0 = starts(params.v, b, h, clamped);
  for (var d = 0u; d < params.width; d++) {
    x[d] = keyRows(k0, d) * (params.scale * LOG2E);
    y[d] = valueRows(v0, d);
  }

  let qStep = params.q.w;
  let gStep = params.dOut.w;
  var qRow = params.q.x + b * params.q.y + h * params.q.z;
  var gRow = params.dOut.x + b * params.dOut.y + h * params.dOut.z;
  for (var j = 0u; j < params.queries; j += 8u) {
    let left = params.queries - j;
    let last = left - 1u;
    let t0 = min(0u + flip, last); let t1 = min(1u, last);
    let t2 = min(2u + flip, last); let t3 = min(3u, last);
    let t4 = min(4u + flip, last); let t5 = min(5u, last);
    let t6 = min(6u + flip, last); let t7 = min(7u, last);
    let q0 = qRow + t0 * qStep; let q1 = qRow + t1 * qStep;
    let q2 = qRow + t2 * qStep; let q3 = qRow + t3 * qStep;
    let q4 = qRow + t4 * qStep; let q5 = qRow + t5 * qStep;
    let q6 = qRow + t6 * qStep; let q7 = qRow + t7 * qStep;
    let g0 = gRow + t0 * gStep; let g1 = gRow + t1 * gStep;
    let g2 = gRow + t2 * gStep; let g3 = gRow + t3 * gStep;
    let g4 = gRow + t4 * gStep; let g5 = gRow + t5 * gStep;
    let g6 = gRow + t6 * gStep; let g7 = gRow + t7 * gStep;
    var s0 = Rows(); var s1 = Rows(); var s2 = Rows(); var s3 = Rows();
    var s4 = Rows(); var s5 = Rows(); var s6 = Rows(); var s7 = Rows();
    var p0 = Rows(); var p1 = Rows(); var p2 = Rows(); var p3 = Rows();
    var p4 = Rows(); var p5 = Rows(); var p6 = Rows(); var p7 = Rows();
    for (var c = 0u; c < params.width; c += 4u) {
      let d = c + e;
      let a = Slice(x[d], x[d ^ 1u], x[d ^ 2u], x[d ^ 3u]);
      let w0 = queryPair(q0, q1, d); s0 += product(a, w0.first); s1 += product(a, w0.second);
      let w1 = queryPair(q2, q3, d); s2 += product(a, w1.first); s3 += product(a, w1.second);
      let w2 = queryPair(q4, q5, d); s4 += product(a, w2.first); s5 += product(a, w2.second);
      let w3 = queryPair(q6, q7, d); s6 += product(a, w3.first); s7 += product(a, w3.second);
      let o = Slice(y[d], y[d ^ 1u], y[d ^ 2u], y[d ^ 3u]);
      let u0 = gradientPair(g0, g1, d); p0 += product(o, u0.first); p1 += product(o, u0.second);
      let u1 = gradientPair(g2, g3, d); p2 += product(o, u1.first); p3 += product(o, u1.second);
      let u2 = gradientPair(g4, g5, d); p4 += product(o, u2.first); p5 += product(o, u2.second);
      let u3 = gradientPair(g6, g7, d); p6 += product(o, u3.first); p7 += product(o, u3.second);
    }
    // lse and delta of the 8 queries, a lane loading each, then what lanes see first and second.
    let n = head * params.queries + j;
    let lseLow = lse[n + min(subgroupLane & LAST_LANE, last)] * LOG2E;
    let deltaLow = delta[n + min(subgroupLane & LAST_LANE, last)];
    var lseHigh = lseLow;
    var deltaHigh = deltaLow;
    if (NARROW) {
      lseHigh = lse[n + min(subgroupLane + 4u, last)] * LOG2E;
      deltaHigh = delta[n + min(subgroupLane + 4u, last)];
    }
    let lse0 = subgroupBroadcast(lseLow, 0u);
    let lse1 = subgroupBroadcast(lseLow, 1u);
    let lse2 = subgroupBroadcast(lseLow, 2u);
    let lse3 = subgroupBroadcast(lseLow, 3u);
    let lse4 = subgroupBroadcast(lseHigh, HIGH + 0u);
    let lse5 = subgroupBroadcast(lseHigh, HIGH + 1u);
    let lse6 = subgroupBroadcast(lseHigh, HIGH + 2u);
    let lse7 = subgroupBroadcast(lseHigh, HIGH + 3u);
    let delta0 = subgroupBroadcast(deltaLow, 0u);
    let delta1 = subgroupBroadcast(deltaLow, 1u);
    let delta2 = subgroupBroadcast(deltaLow, 2u);
    let delta3 = subgroupBroadcast(deltaLow, 3u);
    let delta4 = subgroupBroadcast(deltaHigh, HIGH + 0u);
    let delta5 = subgroupBroadcast(deltaHigh, HIGH + 1u);
    let delta6 = subgroupBroadcast(deltaHigh, HIGH + 2u);
    let delta7 = subgroupBroadcast(deltaHigh, HIGH + 3u);
    // From scores to probabilities s, and from dOut * v to the gradient p of the scores.
    s0 = exp2(s0 - select(lse0, lse1, flip == 1u)); p0 = s0 * (p0 - select(delta0, delta1, flip == 1u));
    s1 = exp2(s1 - select(lse1, lse0, flip == 1u)); p1 = s1 * (p1 - select(delta1, delta0, flip == 1u));
    s2 = exp2(s2 - select(lse2, lse3, flip == 1u)); p2 = s2 * (p2 - select(delta2, delta3, flip == 1u));
    s3 = exp2(s3 - select(lse3, lse2, flip == 1u)); p3 = s3 * (p3 - select(delta3, delta2, flip == 1u));
    s4 = exp2(s4 - select(lse4, lse5, flip == 1u)); p4 = s4 * (p4 - select(delta4, delta5, flip == 1u));
    s5 = exp2(s5 - select(lse5, lse4, flip == 1u)); p5 = s5 * (p5 - select(delta5, delta4, flip == 1u));
    s6 = exp2(s6 - select(lse6, lse7, flip == 1u)); p6 = s6 * (p6 - select(delta6, delta7, flip == 1u));
    s7 = exp2(s7 - select(lse7, lse6, flip == 1u)); p7 = s7 * (p7 - select(delta7, delta6, flip == 1u));
    if (left < 8u) {
      s0 = select(Rows(), s0, left > (0u ^ flip)); p0 = select(Rows(), p0, left > (0u ^ flip));
      s1 = select(Rows(), s1, left > (1u ^ flip)); p1 = select(Rows(), p1, left > (1u ^ flip));
      s2 = select(Rows(), s2, left > (2u ^ flip)); p2 = select(Rows(), p2, left > (2u ^ flip));
      s3 = select(Rows(), s3, left > (3u ^ flip)); p3 = select(Rows(), p3, left > (3u ^ flip));
      s4 = select(Rows(), s4, left > (4u ^ flip)); p4 = select(Rows(), p4, left > (4u ^ flip));
      s5 = select(Rows(), s5, left > (5u ^ flip)); p5 = select(Rows(), p5, left > (5u ^ flip));
      s6 = select(Rows(), s6, left > (6u ^ flip)); p6 = select(Rows(), p6, left > (6u ^ flip));
      s7 = select(Rows(), s7, left > (7u ^ flip)); p7 = select(Rows(), p7, left > (7u ^ flip));
    }
    for (var c = 0u; c < params.width; c += 4u) {
      let d = c + e;
      var a = Slice(dk[d], dk[d ^ 1u], dk[d ^ 2u], dk[d ^ 3u]);
      a = add(a, p0, p1, queryPair(q0, q1, d));
      a = add(a, p2, p3, queryPair(q2, q3, d));
      a = add(a, p4, p5, queryPair(q4, q5, d));
      a = add(a, p6, p7, queryPair(q6, q7, d));
      dk[d] = a.x0; dk[d ^ 1u] = a.x1; dk[d ^ 2u] = a.x2; dk[d ^ 3u] = a.x3;
      a = Slice(dv[d], dv[d ^ 1u], dv[d ^ 2u], dv[d ^ 3u]);
      a = add(a, s0, s1, gradientPair(g0, g1, d));
      a = add(a, s2, s3, gradientPair(g2, g3, d));
      a = add(a, s4, s5, gradientPair(g4, g5, d));
      a = add(a, s6, s7, gradientPair(g6, g7, d));
      dv[d] = a.x0; dv[d ^ 1u] = a.x1; dv[d ^ 2u] = a.x2; dv[d ^ 3u] = a.x3;
    }
    qRow += 8u * qStep;
    gRow += 8u * gStep;
  }

  let dk0 = starts(params.dk, b, h, row);
  let dv0 = starts(params.dv, b, h, row);
  for (var d = 0u; d < params.width; d++) {
    store(dk[d] * params.scale, row, dk0, d);
    store(dv[d], row, dv0, d);
  }
}
