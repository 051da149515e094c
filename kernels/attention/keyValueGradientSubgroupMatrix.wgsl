// The gradients of keys and values (2205.14135) on float16 for GPUs whose subgroups multiply 16 x 16 matrices, with sums in f32 and
// the layout of the forward kernel (subgroupMatrix.wgsl), except that the workgroup owns key rows and passes over QUERIES queries at a
// time. Both gradients go to one buffer, each at its own offset and strides.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;

// The largest subgroup size. Where subgroups are smaller, there are more of them, and several do the same work.
const LANES: u32 = 32u;
const SUBGROUPS: u32 = 4u;
const QUERIES: u32 = 32u;
const STEP: u32 = QUERIES; // rows of a tile
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
const SHARE: u32 = QUERIES / PER_ROW;
// The elements from row to row, padded so that rows lie in different banks and are aligned to 16 bytes.
const PITCH: u32 = WIDTH + 8u;
const LINE_PITCH: u32 = QUERIES + 8u;
// The eights of a tile, and those that a thread loads.
const EIGHTS: u32 = STEP * WIDTH / 8u;
const LOADS: u32 = (EIGHTS + WORKGROUP - 1u) / WORKGROUP;
const SCORE_PITCH: u32 = QUERIES + 4u;
const WEIGHT_PITCH: u32 = QUERIES + 8u;
// Where gradients begin in the rows, then transposed queries and gradients, and the elements of all four.
const GRADIENTS: u32 = QUERIES * PITCH;
const COLUMNS: u32 = 2u * QUERIES * PITCH;
const GRADIENT_COLUMNS: u32 = COLUMNS + WIDTH * LINE_PITCH;
const ROOM: u32 = max(2u * (QUERIES * PITCH + WIDTH * LINE_PITCH), ROWS * PITCH);
// Whether there are so many queries that one chain of additions loses digits. Then sums over FOLD queries are compensated.
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
  k: vec4<u32>, v: vec4<u32>, dOut: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>, mask: vec4<u32>, // unused
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<array<f16, UNIT>>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> dOut: array<array<f16, UNIT>>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<f16>; // dk and dv, [B, H, Tk, Dh] in any strides
@group(1) @binding(0) var<uniform> params: Params;

// Keys, then values, then queries and the gradients of outputs, both [QUERIES][WIDTH] and then both [WIDTH][QUERIES].
var<workgroup> rows: array<f16, ROOM>;
var<workgroup> scores: array<array<f32, 16u * SCORE_PITCH>, SUBGROUPS>; // [key][query], or their gradients, or 16 columns of a result
var<workgroup> logSums: array<f32, QUERIES>; // the log-sum-exps of queries, in base 2
var<workgroup> deltas: array<f32, QUERIES>;
var<workgroup> weights: array<array<f16, 16u * WEIGHT_PITCH>, SUBGROUPS>;

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
  let blocks = (params.keys + ROWS - 1u) / ROWS;
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
  let dOutHead = (own.w + headStart(params.dOut, b, h)) / UNIT;
  let scale = params.scale * LOG2E;
  let mine = subgroup % SUBGROUPS;
  let ownRow = mine * 16u;
  // The row of scores that this thread makes weights of, and its part of the row.
  let r = local / PER_ROW;
  let part = local % PER_ROW;
  let row = first + r;
  let block = r / 16u; // the subgroup that has the row
  let ownScores = r % 16u * SCORE_PITCH + part * SHARE;
  let ownWeights = r % 16u * WEIGHT_PITCH + part * SHARE;

  for (var i = local; i < ROWS * WIDTH / 8u; i += WORKGROUP) {
    let line = i / 2u % ROWS;
    let d = i % 2u + i / (2u * ROWS) * 2u;
    setRow(line * (PITCH / 8u) + d, keyEight(kHead, min(first + line, params.keys - 1u) * (params.k.w / UNIT), d));
  }
  workgroupBarrier();
  var key: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    key[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }
  workgroupBarrier();
  for (var i = local; i < ROWS * WIDTH / 8u; i += WORKGROUP) {
    let line = i / 2u % ROWS;
    let d = i % 2u + i / (2u * ROWS) * 2u;
    setRow(line * (PITCH / 8u) + d, valueEight(vHead, min(first + line, params.keys - 1u) * (params.v.w / UNIT), d));
  }
  workgroupBarrier();
  var value: array<Left, FRAGMENTS>;
  for (var f = 0u; f < FRAGMENTS; f++) {
    value[f] = subgroupMatrixLoad<Left, row_major>(&rows, ownRow * PITCH + 16u * f, PITCH);
  }

  var dk: array<Result, FRAGMENTS>;
  var dv: array<Result, FRAGMENTS>;
  // Mesa 25.0.7 for AMD's GPUs leaves all but the first number of matrices of an array undefined where the array has no value yet.
  for (var f = 0u; f < FRAGMENTS; f++) {
    dk[f] = Result();
    dv[f] = Result();
  }
  let columns = 16u / PER_ROW;
  var longDk: array<Compensated, LONG_ELEMENTS>; // of this thread's row, `columns` of each fragment
  var longDv: array<Compensated, LONG_ELEMENTS>;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var slots: array<TileSlot, LOADS>;
  for (var i = 0u; i < LOADS; i++) { slots[i] = slotOf(local + i * WORKGROUP); }
  // Distances in memory are in units.
  let qStep = params.q.w / UNIT;
  let dOutStep = params.dOut.w / UNIT;
  for (var j = 0u; j < params.queries; j += QUERIES) {
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) {
      if (EIGHTS % WORKGROUP == 0u || local + i * WORKGROUP < EIGHTS) {
        let slot = slots[i];
        let query = min(j + slot.line, params.queries - 1u);
        let ofQuery = queryEight(qHead, query * qStep, slot.d);
        let ofGradient = gradientEight(dOutHead, query * dOutStep, slot.d);
        setRow(slot.row, ofQuery);
        setColumn(slot.column, ofQuery);
        setRow(slot.row + GRADIENTS / 8u, ofGradient);
        setColumn(slot.column + WIDTH * LINE_PITCH, ofGradient);
      }
    }
    if (local < QUERIES) {
      let at = head * params.queries + min(j + local, params.queries - 1u);
      logSums[local] = lse[rest.x + at] * LOG2E;
      deltas[local] = delta[rest.y + at];
    }
    workgroupBarrier();
    for (var n = 0u; n < QUERIES; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, n * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(key[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores[mine], n, score, SCORE_PITCH);
    }
    workgroupBarrier();
    var shares: array<f32, SHARE>; // the probabilities
    if (j + QUERIES <= params.queries) {
      for (var s = 0u; s < SHARE; s++) {
        shares[s] = exp2(scores[block][ownScores + s] * scale - logSums[part * SHARE + s]);
      }
    } else {
      for (var s = 0u; s < SHARE; s++) {
        let share = exp2(scores[block][ownScores + s] * scale - logSums[part * SHARE + s]);
        shares[s] = select(0.0, share, j + part * SHARE + s < params.queries);
      }
    }
    for (var s = 0u; s < SHARE; s++) { weights[block][ownWeights + s] = f16(shares[s]); }
    workgroupBarrier();
    for (var n = 0u; n < QUERIES; n += 16u) {
      var score = Result();
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, GRADIENTS + n * PITCH + 16u * f, PITCH);
        score = subgroupMatrixMultiplyAccumulate(value[f], right, score);
      }
      subgroupMatrixStore<row_major>(&scores[mine], n, score, SCORE_PITCH);
    }
    for (var n = 0u; n < QUERIES; n += 16u) {
      var left: Left;
      left = subgroupMatrixLoad<Left, row_major>(&weights[mine], n, WEIGHT_PITCH);
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, GRADIENT_COLUMNS + 16u * f * LINE_PITCH + n, LINE_PITCH);
        dv[f] = subgroupMatrixMultiplyAccumulate(left, right, dv[f]);
      }
    }
    workgroupBarrier();
    // All loads come before the stores, so that compilers join them.
    for (var s = 0u; s < SHARE; s++) { shares[s] *= scores[block][ownScores + s] - deltas[part * SHARE + s]; }
    for (var s = 0u; s < SHARE; s++) { weights[block][ownWeights + s] = f16(shares[s]); }
    workgroupBarrier();
    for (var n = 0u; n < QUERIES; n += 16u) {
      var left: Left;
      left = subgroupMatrixLoad<Left, row_major>(&weights[mine], n, WEIGHT_PITCH);
      for (var f = 0u; f < FRAGMENTS; f++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&rows, COLUMNS + 16u * f * LINE_PITCH + n, LINE_PITCH);
        dk[f] = subgroupMatrixMultiplyAccumulate(left, right, dk[f]);
      }
    }
    if (LONG && ((j + QUERIES) % FOLD == 0u || j + QUERIES >= params.queries)) {
      for (var f = 0u; f < FRAGMENTS; f++) {
        subgroupMatrixStore<row_major>(&scores[mine], 0u, dk[f], SCORE_PITCH);
        workgroupBarrier();
        for (var i = 0u; i < columns; i++) {
          longDk[f * columns + i] = fold(longDk[f * columns + i], scores[block][r % 16u * SCORE_PITCH + part * columns + i], zero);
        }
        workgroupBarrier();
        subgroupMatrixStore<row_major>(&scores[mine], 0u, dv[f], SCORE_PITCH);
        workgroupBarrier();
        for (var i = 0u; i < columns; i++) {
          longDv[f * columns + i] = fold(longDv[f * columns + i], scores[block][r % 16u * SCORE_PITCH + part * columns + i], zero);
        }
        workgroupBarrier();
        dk[f] = Result();
        dv[f] = Result();
      }
    }
  }

  let dkRow = rest.z + headStart(params.dk, b, h) + row * params.dk.w;
  let dvRow = rest.z + headStart(params.dv, b, h) + row * params.dv.w;
  for (var f = 0u; f < FRAGMENTS; f++) {
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&scores[mine], 0u, dk[f], SCORE_PITCH);
    workgroupBarrier();
    for (var i = 0u; i < columns; i++) {
      let d = 16u * f + part * columns + i;
      var element = scores[block][r % 16u * SCORE_PITCH + part * columns + i];
      if (LONG) { element = longDk[f * columns + i].sum - longDk[f * columns + i].excess; }
      if (row < params.keys && d < params.width) { dkv[dkRow + d] = f16(element * params.scale); }
    }
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&scores[mine], 0u, dv[f], SCORE_PITCH);
    workgroupBarrier();
    for (var i = 0u; i < columns; i++) {
      let d = 16u * f + part * columns + i;
      var element = scores[block][r % 16u * SCORE_PITCH + part * columns + i];
      if (LONG) { element = longDv[f * columns + i].sum - longDv[f * columns + i].excess; }
      if (row < params.keys && d < params.width) { dkv[dvRow + d] = f16(element); }
    }
  }
}
