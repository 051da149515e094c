// Attention (2205.14135, with the online softmax of 1805.02867) on float16 for GPUs whose subgroups multiply 16 x 16 matrices
// (tensor cores), with sums in f32. A workgroup owns 16 MATRICES query rows of one head for each of its subgroups, and passes over
// KEYS keys at a time. The output stays in matrices, whose rows cannot be scaled. So weights are exponentials of the distance to a
// number that follows a row's highest score only when left behind by 2^SLACK. Then the output passes through workgroup memory, and
// the keys are taken once more.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;

// The largest subgroup size. Where subgroups are smaller, there are more of them, and several do the same work.
const LANES: u32 = 32u;
const SUBGROUPS: u32 = 4u;
// The matrices of query rows of a subgroup. With two, a matrix of keys or values is loaded once for both.
const MATRICES: u32 = 1u;
const KEYS: u32 = 32u;
const STEP: u32 = KEYS; // rows of a tile
// The most elements of a head's row, a multiple of 16.
const WIDTH: u32 = 64u;
// The elements of q, k and v that are loaded at once: 8 where rows come in aligned eights, else 1.
const UNIT: u32 = 1u;
// Whether rows have fewer than WIDTH elements.
const PADDED: bool = true;

const WORKGROUP: u32 = SUBGROUPS * LANES;
const OWN: u32 = 16u * MATRICES; // rows of a subgroup
const ROWS: u32 = OWN * SUBGROUPS;
const FRAGMENTS: u32 = WIDTH / 16u;
// The matrices of values that are loaded before they are multiplied: all for two matrices of rows, which compilers otherwise copy in between,
// else one, since registers are short where rows are long.
const BATCH: u32 = select(1u, FRAGMENTS, MATRICES > 1u);
// The threads that make weights of a row of scores, and the scores of each.
const PER_ROW: u32 = LANES / OWN;
const SHARE: u32 = KEYS / PER_ROW;
// The elements from row to row, padded so that rows lie in different banks and are aligned to 16 bytes.
const PITCH: u32 = WIDTH + 8u;
const LINE_PITCH: u32 = KEYS + 8u;
// The eights of a tile of keys or values, and those that a thread loads.
const EIGHTS: u32 = STEP * WIDTH / 8u;
const LOADS: u32 = (EIGHTS + WORKGROUP - 1u) / WORKGROUP;
const SCORE_PITCH: u32 = KEYS + 4u;
const WEIGHT_PITCH: u32 = KEYS + 8u;
// Where the transposed values begin in the rows, and the elements of both.
const COLUMNS: u32 = KEYS * PITCH;
const ROOM: u32 = max(KEYS * PITCH + WIDTH * LINE_PITCH, 16u * SUBGROUPS * PITCH);
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 512u;
const LONG_ELEMENTS: u32 = select(1u, FRAGMENTS * 16u / PER_ROW, LONG);
const SLACK: f32 = 8.0;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

alias Sum = f32;
alias Bits = u32;
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, mask: vec4<u32>, // unused
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<array<f16, UNIT>>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<array<f16, UNIT>>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read_write> out: array<f16>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> rows: array<f16, ROOM>; // first queries, then keys [KEYS][WIDTH] followed by values [WIDTH][KEYS]
var<workgroup> scores: array<array<f32, OWN * SCORE_PITCH>, SUBGROUPS>; // or 16 columns of the output
var<workgroup> weights: array<array<f16, OWN * WEIGHT_PITCH>, SUBGROUPS>;
var<workgroup> sums: array<array<f32, PER_ROW>, ROWS>; // or highest scores, of each thread
var<workgroup> behind: atomic<u32>; // 1 if the number of a row has changed, so that the output is to be scaled

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

// Stores matrix m of the queries of each subgroup in workgroup memory. Query rows of the workgroup begin at `first`.
fn setQueries(m: u32, head: u32, first: u32, local: u32) {
  for (var i = local; i < 2u * SUBGROUPS * WIDTH; i += WORKGROUP) {
    let line = i / 2u % (16u * SUBGROUPS);
    let d = i % 2u + i / (32u * SUBGROUPS) * 2u;
    let token = min(first + line / 16u * OWN + 16u * m + line % 16u, params.queries - 1u);
    setRow(line * (PITCH / 8u) + d, queryEight(head, token * (params.q.w / UNIT), d));
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

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn orNaN(value: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(bitcast<f32>(nan), value, bitcast<u32>(sum) - 1u < 0x7f7fffffu);
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
  let scale = params.scale * LOG2E;
  let mine = subgroup % SUBGROUPS;
  // The row of scores that this thread makes weights of, and its part of the row.
  let r = local / PER_ROW;
  let part = local % PER_ROW;
  let row = first + r;
  let block = r / OWN; // the subgroup that has the row
  let ownWeights = r % OWN * WEIGHT_PITCH + part * SHARE;
  let ownScores = r % OWN * SCORE_PITCH + part * SHARE;
  let rowScores = r % OWN * SCORE_PITCH;
  let columns = 16u / PER_ROW;

  var query: array<Left, MATRICES * FRAGMENTS>;
  setQueries(0u, qHead, first, local);
  workgroupBarrier();
  for (var f = 0u; f < FRAGMENTS; f++) { query[f] = subgroupMatrixLoad<Left, row_major>(&rows, mine * 16u * PITCH + 16u * f, PITCH); }
  // This is no loop over matrices, since compilers keep one with barriers, and then they move all matrices at each turn.
  if (MATRICES > 1u) {
    workgroupBarrier();
    setQueries(MATRICES - 1u, qHead, first, local);
    workgroupBarrier();
    for (var f = FRAGMENTS; f < MATRICES * FRAGMENTS; f++) {
      query[f] = subgroupMatrixLoad<Left, row_major>(&rows, mine * 16u * PITCH + 16u * (f % FRAGMENTS), PITCH);
    }
  }

  var acc: array<Result, MATRICES * FRAGMENTS>;
  // Mesa 25.0.7 for AMD's GPUs leaves all but the first number of matrices of an array undefined where the array has no value yet.
  for (var f = 0u; f < MATRICES * FRAGMENTS; f++) { acc[f] = Result(); }
  var lowBits = 0xff800000u; // A variable, because a constant expression may not be infinite.
  let low = bitcast<f32>(lowBits);
  var top = LOWEST;
  var highest = LOWEST; // of this thread's row in the keys at hand
  var sum = 0.0; // of this thread's weights
  var longAcc: array<Compensated, LONG_ELEMENTS>; // of this thread's row, `columns` of each fragment
  var longSum: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var slots: array<TileSlot, LOADS>;
  for (var i = 0u; i < LOADS; i++) { slots[i] = slotOf(local + i * WORKGROUP); }
  // Distances in memory are in units.
  let kStep = params.k.w / UNIT;
  let vStep = params.v.w / UNIT;
  var scaled = 0u; // the first of the keys for which the output was scaled; it is scaled once, so that the loop ends whatever NaN compares to
  var j = 0u;
  while (j < params.keys) {
    // This loop ends early where a row is left behind.
    for (; j < params.keys; j += KEYS) {
      workgroupBarrier();
      for (var i = 0u; i < LOADS; i++) {
        if (EIGHTS % WORKGROUP == 0u || local + i * WORKGROUP < EIGHTS) {
          let slot = slots[i];
          let key = min(j + slot.line, params.keys - 1u);
          let ofKey = keyEight(kHead, key * kStep, slot.d);
          let ofValue = valueEight(vHead, key * vStep, slot.d);
          setRow(slot.row, ofKey);
          setColumn(slot.column, ofValue);
        }
      }
      workgroupBarrier();
      for (var n = 0u; n < KEYS; n += 16u) {
        var score: array<Result, MATRICES>;
        for (var m = 0u; m < MATRICES; m++) { score[m] = Result(); }
        for (var f = 0u; f < FRAGMENTS; f++) {
          var right: Right;
          right = subgroupMatrixLoad<Right, col_major>(&rows, n * PITCH + 16u * f, PITCH);
          for (var m = 0u; m < MATRICES; m++) {
            score[m] = subgroupMatrixMultiplyAccumulate(query[m * FRAGMENTS + f], right, score[m]);
          }
        }
        for (var m = 0u; m < MATRICES; m++) {
          subgroupMatrixStore<row_major>(&scores[mine], 16u * m * SCORE_PITCH + n, score[m], SCORE_PITCH);
        }
      }
      workgroupBarrier();

      var shares: array<f32, SHARE>; // this thread's scores
      if (j + KEYS <= params.keys) {
        for (var s = 0u; s < SHARE; s++) { shares[s] = scores[block][ownScores + s] * scale; }
      } else {
        for (var s = 0u; s < SHARE; s++) {
          let share = scores[block][ownScores + s] * scale;
          shares[s] = select(low, share, j + part * SHARE + s < params.keys);
        }
      }
      highest = LOWEST;
      for (var s = 0u; s < SHARE; s++) { highest = max(highest, shares[s]); }
      if (PER_ROW > 1u) {
        sums[r][part] = highest;
        workgroupBarrier();
        for (var i = 0u; i < PER_ROW; i++) { highest = max(highest, sums[r][i]); }
      }
      if (j == 0u) {
        top = highest;
      } else if (j != scaled && highest > top + SLACK) {
        atomicStore(&behind, 1u);
      }
      if (workgroupUniformLoad(&behind) == 1u) { break; }
      for (var s = 0u; s < SHARE; s++) {
        let weight = exp2(shares[s] - top);
        weights[block][ownWeights + s] = f16(weight);
        sum += weight;
      }
      workgroupBarrier();
      for (var n = 0u; n < KEYS; n += 16u) {
        var left: array<Left, MATRICES>;
        for (var m = 0u; m < MATRICES; m++) {
          left[m] = subgroupMatrixLoad<Left, row_major>(&weights[mine], 16u * m * WEIGHT_PITCH + n, WEIGHT_PITCH);
        }
        for (var f = 0u; f < FRAGMENTS; f += BATCH) {
          var right: array<Right, BATCH>;
          for (var i = 0u; i < BATCH; i++) {
            right[i] = subgroupMatrixLoad<Right, col_major>(&rows, COLUMNS + 16u * (f + i) * LINE_PITCH + n, LINE_PITCH);
          }
          for (var m = 0u; m < MATRICES; m++) {
            for (var i = 0u; i < BATCH; i++) {
              acc[m * FRAGMENTS + f + i] = subgroupMatrixMultiplyAccumulate(left[m], right[i], acc[m * FRAGMENTS + f + i]);
            }
          }
        }
      }
      if (LONG && ((j + KEYS) % FOLD == 0u || j + KEYS >= params.keys)) {
        for (var f = 0u; f < FRAGMENTS; f++) {
          for (var m = 0u; m < MATRICES; m++) {
            subgroupMatrixStore<row_major>(&scores[mine], 16u * m * SCORE_PITCH, acc[m * FRAGMENTS + f], SCORE_PITCH);
            acc[m * FRAGMENTS + f] = Result();
          }
          workgroupBarrier();
          for (var i = 0u; i < columns; i++) {
            longAcc[f * columns + i] = fold(longAcc[f * columns + i], scores[block][rowScores + part * columns + i], zero);
          }
          workgroupBarrier();
        }
        longSum = fold(longSum, sum, zero);
        sum = 0.0;
      }
    }
    if (j >= params.keys) { break; }
    var factor = 1.0;
    if (highest > top + SLACK) {
      factor = exp2(top - highest);
      top = highest;
    }
    sum *= factor;
    for (var f = 0u; f < FRAGMENTS; f++) {
      workgroupBarrier();
      for (var m = 0u; m < MATRICES; m++) {
        subgroupMatrixStore<row_major>(&scores[mine], 16u * m * SCORE_PITCH, acc[m * FRAGMENTS + f], SCORE_PITCH);
      }
      workgroupBarrier();
      for (var i = 0u; i < columns; i++) { scores[block][rowScores + part * columns + i] *= factor; }
      workgroupBarrier();
      for (var m = 0u; m < MATRICES; m++) {
        acc[m * FRAGMENTS + f] = subgroupMatrixLoad<Result, row_major>(&scores[mine], 16u * m * SCORE_PITCH, SCORE_PITCH);
      }
    }
    if (LONG) {
      longSum = rescaled(longSum, factor);
      for (var i = 0u; i < LONG_ELEMENTS; i++) { longAcc[i] = rescaled(longAcc[i], factor); }
    }
    if (local == 0u) { atomicStore(&behind, 0u); }
    scaled = j;
  }
  if (LONG) { sum = longSum.sum - longSum.excess; }

  workgroupBarrier();
  sums[r][part] = sum;
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < PER_ROW; i++) { total += sums[r][i]; }
  let inverse = orNaN(1.0 / total, total);
  let outRow = own.w + headStart(params.out, b, h) + row * params.out.w;
  for (var f = 0u; f < FRAGMENTS; f++) {
    for (var m = 0u; m < MATRICES; m++) {
      subgroupMatrixStore<row_major>(&scores[mine], 16u * m * SCORE_PITCH, acc[m * FRAGMENTS + f], SCORE_PITCH);
    }
    workgroupBarrier();
    if (row < params.queries) {
      for (var i = part * columns; i < part * columns + columns; i++) {
        var element = scores[block][rowScores + i];
        if (LONG) {
          let at = f * columns + i - part * columns;
          element = longAcc[at].sum - longAcc[at].excess;
        }
        if (16u * f + i < params.width) { out[outRow + 16u * f + i] = f16(element * inverse); }
      }
    }
    workgroupBarrier();
  }
  if (row < params.queries && part == 0u) { lse[rest.x + head * params.queries + row] = orNaN((top + log2(total)) * LN2, total); }
}
