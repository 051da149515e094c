// The gradient of the queries (2205.14135) on float16 for GPUs whose subgroups multiply 16 x 16 matrices, with sums in f32 and the
// layout of the forward kernel (subgroupMatrix.wgsl). It also writes delta, the row sums of dOut * out, which the gradient of keys
// and values needs.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;

// The largest subgroup size. Where subgroups are smaller, there are more of them, and several do the same work.
const LANES: u32 = 32u;
const SUBGROUPS: u32 = 4u;
const KEYS: u32 = 32u;
// The most elements of a head's row, a multiple of 16.
const WIDTH: u32 = 64u;
// Element type of q, k, v and dOut: f16, or vec4<f16> where rows can be loaded by fours.
alias Element = f16;
const FOURS: bool = false;

const WORKGROUP: u32 = SUBGROUPS * LANES;
const ROWS: u32 = 16u * SUBGROUPS;
const FRAGMENTS: u32 = WIDTH / 16u;
// The threads that make weights of a row of scores, and the scores of each.
const PER_ROW: u32 = LANES / 16u;
const SHARE: u32 = KEYS / PER_ROW;
// The elements from row to row, padded so that rows lie in different banks and are aligned to 16 bytes.
const PITCH: u32 = WIDTH + 8u;
const SCORE_PITCH: u32 = KEYS + 4u;
const WEIGHT_PITCH: u32 = KEYS + 8u;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 512u;
const LONG_ELEMENTS: u32 = select(1u, FRAGMENTS * 16u / PER_ROW, LONG);
const LOG2E: f32 = 1.4426950408889634;

alias Sum = f32;
alias Bits = u32;
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, dOut: vec4<u32>, dq: vec4<u32>, mask: vec4<u32>, // unused
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<Element>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Element>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Element>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> out: array<f16>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> dOut: array<Element>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(5) var<storage, read_write> dq: array<f16>; // [B, H, Tq, Dh] in any strides
// [2, B * H * Tq rounded up to 64]: the log-sum-exps, which are read, and delta
@group(0) @binding(6) var<storage, read_write> statistics: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
}

var<workgroup> rows: array<f16, max(2u * KEYS, ROWS) * PITCH>; // queries, then their gradients, then keys followed by values
var<workgroup> scores: array<f32, ROWS * SCORE_PITCH>; // or their gradients, or 16 columns of dq
var<workgroup> weights: array<f16, ROWS * WEIGHT_PITCH>;
var<workgroup> sums: array<f32, WORKGROUP>;

fn headStart(view: vec4<u32>, b: u32, h: u32) -> u32 {
  return view.x + b * view.y + h * view.z;
}

// Elements d to d + 3 of the row that starts at `row`, and zeros past the width.
fn queryFour(row: u32, d: u32) -> vec4<f16> {
  let at = row + min(vec4(d) + vec4(0u, 1u, 2u, 3u), vec4(params.width - 1u));
  if (FOURS) { return select(vec4<f16>(), vec4<f16>(q[at.x / 4u]), d < params.width); }
  // The vec4() and .x let this compile where the element is a vector too.
  let four = vec4(vec4<f16>(q[at.x]).x, vec4<f16>(q[at.y]).x, vec4<f16>(q[at.z]).x, vec4<f16>(q[at.w]).x);
  return select(vec4<f16>(), four, vec4(d) + vec4(0u, 1u, 2u, 3u) < vec4(params.width));
}

fn keyFour(row: u32, d: u32) -> vec4<f16> {
  let at = row + min(vec4(d) + vec4(0u, 1u, 2u, 3u), vec4(params.width - 1u));
  if (FOURS) { return select(vec4<f16>(), vec4<f16>(k[at.x / 4u]), d < params.width); }
  let four = vec4(vec4<f16>(k[at.x]).x, vec4<f16>(k[at.y]).x, vec4<f16>(k[at.z]).x, vec4<f16>(k[at.w]).x);
  return select(vec4<f16>(), four, vec4(d) + vec4(0u, 1u, 2u, 3u) < vec4(params.width));
}

fn valueFour(row: u32, d: u32) -> vec4<f16> {
  let at = row + min(vec4(d) + vec4(0u, 1u, 2u, 3u), vec4(params.width - 1u));
  if (FOURS) { return select(vec4<f16>(), vec4<f16>(v[at.x / 4u]), d < params.width); }
  let four = vec4(vec4<f16>(v[at.x]).x, vec4<f16>(v[at.y]).x, vec4<f16>(v[at.z]).x, vec4<f16>(v[at.w]).x);
  return select(vec4<f16>(), four, vec4(d) + vec4(0u, 1u, 2u, 3u) < vec4(params.width));
}

fn gradientFour(row: u32, d: u32) -> vec4<f16> {
  let at = row + min(vec4(d) + vec4(0u, 1u, 2u, 3u), vec4(params.width - 1u));
  if (FOURS) { return select(vec4<f16>(), vec4<f16>(dOut[at.x / 4u]), d < params.width); }
  let four = vec4(vec4<f16>(dOut[at.x]).x, vec4<f16>(dOut[at.y]).x, vec4<f16>(dOut[at.z]).x, vec4<f16>(dOut[at.w]).x);
  return select(vec4<f16>(), four, vec4(d) + vec4(0u, 1u, 2u, 3u) < vec4(params.width));
}

fn setRow(line: u32, d: u32, four: vec4<f16>) {
  for (var s = 0u; s < 4u; s++) { rows[line * PITCH + d + s] = four[s]; }
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

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.queries + ROWS - 1u) / ROWS;
  if (group >= blocks * params.batch * params.heads) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let first = group % blocks * ROWS;
  let qHead = own.x + headStart(params.q, b, h);
  let kHead = own.y + headStart(params.k, b, h);
  let vHead = own.z + headStart(params.v, b, h);
  let dOutHead = rest.x + headStart(params.dOut, b, h);
  let scale = params.scale * LOG2E;
  let ownRow = subgroup % SUBGROUPS * 16u;
  // The row of scores that this thread makes weights of, and its part of the row.
  let r = local / PER_ROW;
  let part = local % PER_ROW;
  let row = first + r;
  let clamped = min(row, params.queries - 1u);
  let rowScores = r * SCORE_PITCH;

  for (var i = local; i < ROWS * WIDTH / 4u; i += WORKGROUP) {
    let line = i / (WIDTH / 4u);
    let d = i % (WIDTH / 4u) * 4u;
    setRow(line, d, queryFour(qHead + min(first + line, params.queries - 1u) * params.q.w, d));
  }
  workgroupBarrier();
  var query: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    query[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }
  workgroupBarrier();
  for (var i = local; i < ROWS * WIDTH / 4u; i += WORKGROUP) {
    let line = i / (WIDTH / 4u);
    let d = i % (WIDTH / 4u) * 4u;
    setRow(line, d, gradientFour(dOutHead + min(first + line, params.queries - 1u) * params.dOut.w, d));
  }
  workgroupBarrier();
  var gradient: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    gradient[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }
  let outRow = own.w + headStart(params.out, b, h) + clamped * params.out.w;
  var product = 0.0;
  for (var d = part; d < params.width; d += PER_ROW) { product += f32(rows[r * PITCH + d]) * f32(out[outRow + d]); }
  sums[local] = product;
  workgroupBarrier();
  var sum = 0.0; // delta of the row
  for (var i = 0u; i < PER_ROW; i++) { sum += sums[r * PER_ROW + i]; }
  let logSum = statistics[rest.z + head * params.queries + clamped] * LOG2E;

  var acc: array<Result, FRAGMENTS>;
  let columns = 16u / PER_ROW;
  var longAcc: array<Compensated, LONG_ELEMENTS>; // of this thread's row, `columns` of each fragment
  let zero = params.width >> 31u; // 0, which compilers do not know
  for (var j = 0u; j < params.keys; j += KEYS) {
    workgroupBarrier();
    for (var i = local; i < KEYS * WIDTH / 4u; i += WORKGROUP) {
      let line = i / (WIDTH / 4u);
      let d = i % (WIDTH / 4u) * 4u;
      let key = min(j + line, params.keys - 1u);
      setRow(line, d, keyFour(kHead + key * params.k.w, d));
      setRow(KEYS + line, d, valueFour(vHead + key * params.v.w, d));
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, n * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(query[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores, ownRow * SCORE_PITCH + n, score, SCORE_PITCH);
    }
    workgroupBarrier();
    let there = min(KEYS, params.keys - j);
    var shares: array<f32, SHARE>; // the probabilities
    for (var s = 0u; s < SHARE; s++) {
      let i = part * SHARE + s;
      shares[s] = select(0.0, exp2(scores[rowScores + i] * scale - logSum), i < there);
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, (KEYS + n) * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(gradient[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores, ownRow * SCORE_PITCH + n, score, SCORE_PITCH);
    }
    workgroupBarrier();
    for (var s = 0u; s < SHARE; s++) {
      let i = part * SHARE + s;
      weights[r * WEIGHT_PITCH + i] = f16(shares[s] * (scores[rowScores + i] - sum));
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var left: Left;
      left = subgroupMatrixLoad<Left, row_major>(&weights, ownRow * WEIGHT_PITCH + n, WEIGHT_PITCH);
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, row_major>(&rows, n * PITCH + 16u * f, PITCH);
        acc[f] = subgroupMatrixMultiplyAccumulate(left, right, acc[f]);
      }
    }
    if (LONG && ((j + KEYS) % FOLD == 0u || j + KEYS >= params.keys)) {
      for (var f = 0u; f < FRAGMENTS; f++) {
        subgroupMatrixStore<row_major>(&scores, ownRow * SCORE_PITCH, acc[f], SCORE_PITCH);
        workgroupBarrier();
        for (var i = 0u; i < columns; i++) {
          longAcc[f * columns + i] = fold(longAcc[f * columns + i], scores[rowScores + part * columns + i], zero);
        }
        workgroupBarrier();
        acc[f] = Result();
      }
    }
  }

  let dqRow = rest.y + headStart(params.dq, b, h) + row * params.dq.w;
  for (var f = 0u; f < FRAGMENTS; f++) {
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&scores, ownRow * SCORE_PITCH, acc[f], SCORE_PITCH);
    workgroupBarrier();
    if (row < params.queries) {
      for (var i = part * columns; i < part * columns + columns; i++) {
        var element = scores[rowScores + i];
        if (LONG) {
          let at = f * columns + i - part * columns;
          element = longAcc[at].sum - longAcc[at].excess;
        }
        if (16u * f + i < params.width) { dq[dqRow + 16u * f + i] = f16(element * params.scale); }
      }
    }
  }
  if (row < params.queries && part == 0u) { statistics[rest.z + deltaStart() + head * params.queries + row] = sum; }
}
