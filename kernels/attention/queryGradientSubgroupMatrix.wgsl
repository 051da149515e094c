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
const STEP: u32 = KEYS; // rows of a tile
// The most elements of a head's row, a multiple of 16.
const WIDTH: u32 = 64u;
// The elements of q, k, v and dOut that are loaded at once: 8 where rows come in aligned eights, else 1.
const UNIT: u32 = 1u;
// Whether rows have fewer than WIDTH elements.
const PADDED: bool = true;

const WORKGROUP: u32 = SUBGROUPS * LANES;
const ROWS: u32 = 16u * SUBGROUPS;
const FRAGMENTS: u32 = WIDTH / 16u;
// The threads that make weights of a row of scores, and the scores of each.
const PER_ROW: u32 = LANES / 16u;
const SHARE: u32 = KEYS / PER_ROW;
// The elements from row to row, padded so that rows lie in different banks and are aligned to 16 bytes.
const PITCH: u32 = WIDTH + 8u;
const LINE_PITCH: u32 = KEYS + 8u;
// The eights of a tile, and those that a thread loads.
const EIGHTS: u32 = STEP * WIDTH / 8u;
const LOADS: u32 = (EIGHTS + WORKGROUP - 1u) / WORKGROUP;
const SCORE_PITCH: u32 = KEYS + 4u;
const WEIGHT_PITCH: u32 = KEYS + 8u;
// Where the values and the transposed keys begin in the rows, and the elements of all three.
const VALUES: u32 = KEYS * PITCH;
const COLUMNS: u32 = 2u * KEYS * PITCH;
const ROOM: u32 = max(2u * KEYS * PITCH + WIDTH * LINE_PITCH, ROWS * PITCH);
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

@group(0) @binding(0) var<storage, read> q: array<array<f16, UNIT>>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> out: array<f16>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> dOut: array<array<f16, UNIT>>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(5) var<storage, read_write> dq: array<f16>; // [B, H, Tq, Dh] in any strides
// [2, B * H * Tq rounded up to 64]: the log-sum-exps, which are read, and delta
@group(0) @binding(6) var<storage, read_write> statistics: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// The index of delta in the statistics, behind the log-sum-exps.
fn deltaStart() -> u32 {
  return (params.batch * params.heads * params.queries + 63u) / 64u * 64u;
}

// Queries, then their gradients, then keys and values, both [KEYS][WIDTH], followed by keys [WIDTH][KEYS].
var<workgroup> rows: array<f16, ROOM>;
var<workgroup> scores: array<array<f32, 16u * SCORE_PITCH>, SUBGROUPS>; // or their gradients, or 16 columns of dq
var<workgroup> weights: array<array<f16, 16u * WEIGHT_PITCH>, SUBGROUPS>;
var<workgroup> sums: array<array<f32, PER_ROW>, ROWS>;

fn headStart(view: vec4<u32>, b: u32, h: u32) -> u32 {
  return view.x + b * view.y + h * view.z;
}

// Eight number d of a row of q, two elements in a word, and zeros past the width. The row begins `row` units after the head's first one.
fn queryEight(head: u32, row: u32, d: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT == 8u) {
    let unit = row + (head + d);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(q[unit][s], q[unit][s + 1u], q[unit][s + 2u], q[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return select(eight, vec4<u32>(), PADDED && 8u * d >= params.width);
  }
  for (var i = 0u; i < 4u; i++) {
    let s = 8u * d + 2u * i + vec2(0u, 1u);
    let at = head + row + min(s, vec2(params.width - 1u));
    eight[i] = bitcast<u32>(select(vec2<f16>(), vec2(q[at.x][0], q[at.y][0]), s < vec2(params.width)));
  }
  return eight;
}

// Eight number d of a row of k, two elements in a word, and zeros past the width. The row begins `row` units after the head's first one.
fn keyEight(head: u32, row: u32, d: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT == 8u) {
    let unit = row + (head + d);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(k[unit][s], k[unit][s + 1u], k[unit][s + 2u], k[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return select(eight, vec4<u32>(), PADDED && 8u * d >= params.width);
  }
  for (var i = 0u; i < 4u; i++) {
    let s = 8u * d + 2u * i + vec2(0u, 1u);
    let at = head + row + min(s, vec2(params.width - 1u));
    eight[i] = bitcast<u32>(select(vec2<f16>(), vec2(k[at.x][0], k[at.y][0]), s < vec2(params.width)));
  }
  return eight;
}

// Eight number d of a row of v, two elements in a word, and zeros past the width. The row begins `row` units after the head's first one.
fn valueEight(head: u32, row: u32, d: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT == 8u) {
    let unit = row + (head + d);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(v[unit][s], v[unit][s + 1u], v[unit][s + 2u], v[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return select(eight, vec4<u32>(), PADDED && 8u * d >= params.width);
  }
  for (var i = 0u; i < 4u; i++) {
    let s = 8u * d + 2u * i + vec2(0u, 1u);
    let at = head + row + min(s, vec2(params.width - 1u));
    eight[i] = bitcast<u32>(select(vec2<f16>(), vec2(v[at.x][0], v[at.y][0]), s < vec2(params.width)));
  }
  return eight;
}

// Eight number d of a row of dOut, two elements in a word, and zeros past the width. The row begins `row` units after the head's first one.
fn gradientEight(head: u32, row: u32, d: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT == 8u) {
    let unit = row + (head + d);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(dOut[unit][s], dOut[unit][s + 1u], dOut[unit][s + 2u], dOut[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return select(eight, vec4<u32>(), PADDED && 8u * d >= params.width);
  }
  for (var i = 0u; i < 4u; i++) {
    let s = 8u * d + 2u * i + vec2(0u, 1u);
    let at = head + row + min(s, vec2(params.width - 1u));
    eight[i] = bitcast<u32>(select(vec2<f16>(), vec2(dOut[at.x][0], dOut[at.y][0]), s < vec2(params.width)));
  }
  return eight;
}

// Stores an eight of a row in workgroup memory, from place 8 * `place` on. Compilers see that it lies inside, so that they leave out checks
// and join the stores.
fn setRow(place: u32, eight: vec4<u32>) {
  let start = min(place, ROOM / 8u - 1u) * 8u;
  for (var i = 0u; i < 4u; i++) {
    let two = bitcast<vec2<f16>>(eight[i]);
    rows[start + 2u * i] = two.x;
    rows[start + 2u * i + 1u] = two.y;
  }
}

// Stores an eight of a row in a column of a transposed tile, from `place` on.
fn setColumn(place: u32, eight: vec4<u32>) {
  let start = min(place, ROOM - 7u * LINE_PITCH - 1u);
  for (var i = 0u; i < 4u; i++) {
    let two = bitcast<vec2<f16>>(eight[i]);
    rows[start + 2u * i * LINE_PITCH] = two.x;
    rows[start + (2u * i + 1u) * LINE_PITCH] = two.y;
  }
}

// An eight of the tiles of keys and values: its line, its number in the line, and where it lies among the rows and in the transposed tile.
struct TileSlot { line: u32, d: u32, row: u32, column: u32 }

fn slotOf(index: u32) -> TileSlot {
  // Neighbouring threads take two eights of a line and then the next line, since more would store to one bank of the transposed tile.
  let line = index / 2u % STEP;
  let d = index % 2u + index / (2u * STEP) * 2u;
  return TileSlot(line, d, line * (PITCH / 8u) + d, COLUMNS + 8u * d * LINE_PITCH + line);
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
  let qHead = (own.x + headStart(params.q, b, h)) / UNIT;
  let kHead = (own.y + headStart(params.k, b, h)) / UNIT;
  let vHead = (own.z + headStart(params.v, b, h)) / UNIT;
  let dOutHead = (rest.x + headStart(params.dOut, b, h)) / UNIT;
  let scale = params.scale * LOG2E;
  let mine = subgroup % SUBGROUPS;
  let ownRow = mine * 16u;
  // The row of scores that this thread makes weights of, and its part of the row.
  let r = local / PER_ROW;
  let part = local % PER_ROW;
  let row = first + r;
  let clamped = min(row, params.queries - 1u);
  let block = r / 16u; // the subgroup that has the row
  let ownWeights = r % 16u * WEIGHT_PITCH + part * SHARE;
  let rowScores = r % 16u * SCORE_PITCH;
  let ownScores = rowScores + part * SHARE;

  for (var i = local; i < ROWS * WIDTH / 8u; i += WORKGROUP) {
    let line = i / 2u % ROWS;
    let d = i % 2u + i / (2u * ROWS) * 2u;
    setRow(line * (PITCH / 8u) + d, queryEight(qHead, min(first + line, params.queries - 1u) * (params.q.w / UNIT), d));
  }
  workgroupBarrier();
  var query: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    query[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }
  workgroupBarrier();
  for (var i = local; i < ROWS * WIDTH / 8u; i += WORKGROUP) {
    let line = i / 2u % ROWS;
    let d = i % 2u + i / (2u * ROWS) * 2u;
    setRow(line * (PITCH / 8u) + d, gradientEight(dOutHead, min(first + line, params.queries - 1u) * (params.dOut.w / UNIT), d));
  }
  workgroupBarrier();
  var gradient: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    gradient[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }
  let outRow = own.w + headStart(params.out, b, h) + clamped * params.out.w;
  var product = 0.0;
  for (var d = part; d < params.width; d += PER_ROW) { product += f32(rows[r * PITCH + d]) * f32(out[outRow + d]); }
  sums[r][part] = product;
  workgroupBarrier();
  var sum = 0.0; // delta of the row
  for (var i = 0u; i < PER_ROW; i++) { sum += sums[r][i]; }
  let logSum = statistics[rest.z + head * params.queries + clamped] * LOG2E;

  var acc: array<Result, FRAGMENTS>;
  // Mesa 25.0.7 for AMD's GPUs leaves all but the first number of matrices of an array undefined where the array has no value yet.
  for (var f = 0u; f < FRAGMENTS; f++) { acc[f] = Result(); }
  let columns = 16u / PER_ROW;
  var longAcc: array<Compensated, LONG_ELEMENTS>; // of this thread's row, `columns` of each fragment
  let zero = params.width >> 31u; // 0, which compilers do not know
  var slots: array<TileSlot, LOADS>;
  for (var i = 0u; i < LOADS; i++) { slots[i] = slotOf(local + i * WORKGROUP); }
  // Distances in memory are in units.
  let kStep = params.k.w / UNIT;
  let vStep = params.v.w / UNIT;
  for (var j = 0u; j < params.keys; j += KEYS) {
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) {
      if (EIGHTS % WORKGROUP == 0u || local + i * WORKGROUP < EIGHTS) {
        let slot = slots[i];
        let key = min(j + slot.line, params.keys - 1u);
        let ofKey = keyEight(kHead, key * kStep, slot.d);
        let ofValue = valueEight(vHead, key * vStep, slot.d);
        setRow(slot.row, ofKey);
        setColumn(slot.column, ofKey);
        setRow(slot.row + VALUES / 8u, ofValue);
      }
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, n * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(query[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores[mine], n, score, SCORE_PITCH);
    }
    workgroupBarrier();
    var shares: array<f32, SHARE>; // the probabilities
    if (j + KEYS <= params.keys) {
      for (var s = 0u; s < SHARE; s++) { shares[s] = exp2(scores[block][ownScores + s] * scale - logSum); }
    } else {
      for (var s = 0u; s < SHARE; s++) {
        let share = exp2(scores[block][ownScores + s] * scale - logSum);
        shares[s] = select(0.0, share, j + part * SHARE + s < params.keys);
      }
    }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, VALUES + n * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(gradient[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores[mine], n, score, SCORE_PITCH);
    }
    workgroupBarrier();
    // All loads come before the stores, so that compilers join them.
    for (var s = 0u; s < SHARE; s++) { shares[s] *= scores[block][ownScores + s] - sum; }
    for (var s = 0u; s < SHARE; s++) { weights[block][ownWeights + s] = f16(shares[s]); }
    workgroupBarrier();
    for (var n = 0u; n < KEYS; n += 16u) {
      var left: Left;
      left = subgroupMatrixLoad<Left, row_major>(&weights[mine], n, WEIGHT_PITCH);
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, COLUMNS + 16u * f * LINE_PITCH + n, LINE_PITCH);
        acc[f] = subgroupMatrixMultiplyAccumulate(left, right, acc[f]);
      }
    }
    if (LONG && ((j + KEYS) % FOLD == 0u || j + KEYS >= params.keys)) {
      for (var f = 0u; f < FRAGMENTS; f++) {
        subgroupMatrixStore<row_major>(&scores[mine], 0u, acc[f], SCORE_PITCH);
        workgroupBarrier();
        for (var i = 0u; i < columns; i++) {
          longAcc[f * columns + i] = fold(longAcc[f * columns + i], scores[block][r % 16u * SCORE_PITCH + part * columns + i], zero);
        }
        workgroupBarrier();
        acc[f] = Result();
      }
    }
  }

  let dqRow = rest.y + headStart(params.dq, b, h) + row * params.dq.w;
  for (var f = 0u; f < FRAGMENTS; f++) {
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&scores[mine], 0u, acc[f], SCORE_PITCH);
    workgroupBarrier();
    if (row < params.queries) {
      for (var i = part * columns; i < part * columns + columns; i++) {
        var element = scores[block][rowScores + i];
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
