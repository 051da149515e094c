// The matrix product of float16 operands for GPUs whose subgroups multiply 16 x 16 matrices (tensor cores), with sums in f32. A
// workgroup computes a tile of C. It loads tiles of A and B, DEPTH deep, into workgroup memory, with zeros past the end of k, and
// each subgroup multiplies FRAGMENTS_M x FRAGMENTS_N matrices. The next tiles are loaded from memory meanwhile. Tiles lie with
// neighbours along k, whatever the order in memory, so that a matrix comes in loads of 16 bytes; a part of the tile for each row or column of
// subgroups, so that offsets within it are constants, which need no checks and whose alignment compilers see.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;

// The largest subgroup size. Where subgroups are smaller, there are more of them, and several do the same work.
const LANES: u32 = 32u;
// The subgroups in the directions of m and n, and the matrices of each.
const SUBGROUPS_M: u32 = 2u;
const SUBGROUPS_N: u32 = 2u;
const FRAGMENTS_M: u32 = 2u;
const FRAGMENTS_N: u32 = 2u;
const DEPTH: u32 = 32u;
// Whether neighbours in memory are neighbours along k.
const ALONG_K_A: bool = true;
const ALONG_K_B: bool = true;
// The elements of A and B that are loaded at once: 8 where all neighbours come in aligned eights, else 1.
const UNIT_A: u32 = 1u;
const UNIT_B: u32 = 1u;
// Element types of aux, c and pre. Sums are f32.
alias ScalarAux = f32;
alias ScalarC = f32;
alias ScalarPre = f32;

// Whether elements are dropped. It is a constant because some drivers run the code whether or not the flags ask for it.
const DROPOUT: bool = false;

// Bits of `flags`, in the order of the steps. Dropout, which DROPOUT asks for, comes before ADD.
const BIAS: u32 = 1u; const PRE: u32 = 2u; const GELU: u32 = 4u; const GELU_GRAD: u32 = 8u; const ADD: u32 = 32u;

const SUBGROUPS: u32 = SUBGROUPS_M * SUBGROUPS_N;
const WORKGROUP: u32 = SUBGROUPS * LANES;
const TILE_M: u32 = 16u * FRAGMENTS_M * SUBGROUPS_M;
const TILE_N: u32 = 16u * FRAGMENTS_N * SUBGROUPS_N;
// The rows or columns of C of a subgroup.
const BLOCK_M: u32 = 16u * FRAGMENTS_M;
const BLOCK_N: u32 = 16u * FRAGMENTS_N;
// The elements from one line of a tile to the next. A padding of 8 keeps lines in different banks and aligned to 16 bytes.
const PITCH: u32 = DEPTH + 8u;
// The lines of a tile that eight neighbours lie in, the places along k of each line, and their distance in the tile.
const LINES_A: u32 = select(8u, 1u, ALONG_K_A);
const LINES_B: u32 = select(8u, 1u, ALONG_K_B);
const PLACES_A: u32 = DEPTH * LINES_A / 8u;
const PLACES_B: u32 = DEPTH * LINES_B / 8u;
const STEP_A: u32 = select(PITCH, 1u, ALONG_K_A);
const STEP_B: u32 = select(PITCH, 1u, ALONG_K_B);
// Neighbouring threads load neighbours along k, or two that lie across it and then the next k, because more would store to the same bank.
const PAIR_A: u32 = select(2u, 1u, ALONG_K_A);
const PAIR_B: u32 = select(2u, 1u, ALONG_K_B);
// The eights of neighbours of a tile, and those that a thread loads.
const EIGHTS_A: u32 = TILE_M * DEPTH / 8u;
const EIGHTS_B: u32 = TILE_N * DEPTH / 8u;
const LOADS_A: u32 = (EIGHTS_A + WORKGROUP - 1u) / WORKGROUP;
const LOADS_B: u32 = (EIGHTS_B + WORKGROUP - 1u) / WORKGROUP;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  a: vec4<u32>, b: vec4<u32>, aux: vec4<u32>, // the offset, then the strides of three batch dims
  m: u32, n: u32, k: u32,
  batches: u32, batch1: u32, batch2: u32, // the product of the batch dims, the sizes of the second and the third
  aRow: u32, aCol: u32, bRow: u32, bCol: u32, auxRow: u32, // strides of the matrices
  rows: u32, // rows of C for a workgroup of the subgroup variant
  splits: u32, chunk: u32, // parts of k, and their length, a multiple of 64 unless there is one part
  flags: u32, // steps of the epilogue
  threshold: u32, keep: f32, // of dropout: words below the threshold drop their element, keep is the factor of the others
  seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> a: array<array<f16, UNIT_A>>; // [batches, m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<array<f16, UNIT_B>>; // [batches, k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> aux: array<ScalarAux>; // [batches, m, n] by strides, rows contiguous
@group(0) @binding(4) var<storage, read_write> c: array<ScalarC>; // [splits, batches, m, n]
@group(0) @binding(5) var<storage, read_write> pre: array<ScalarPre>; // [batches, m, n]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> tileA: array<array<f16, BLOCK_M * PITCH>, SUBGROUPS_M>; // [m][k] of each row of subgroups
var<workgroup> tileB: array<array<f16, BLOCK_N * PITCH>, SUBGROUPS_N>; // [n][k] of each column of subgroups
var<workgroup> results: array<array<f32, 256>, SUBGROUPS>; // a matrix of each subgroup, on its way to C

// The first element of a matrix of the batch.
fn batchOffset(view: vec4<u32>, batch: u32) -> u32 {
  let outer = batch / params.batch2;
  return view.x + outer / params.batch1 * view.y + outer % params.batch1 * view.z + batch % params.batch2 * view.w;
}

// Q(x) e^(x^2 / 2) for x >= 0, where Q is the upper tail of the normal distribution. It is t P(t) with t = 1 / (1 + 0.33 x / sqrt
// 2), the form of Abramowitz and Stegun 7.1.26, with a minimax P of degree 7 whose relative error is 1e-7, the far tail included.
fn tail(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.23334524 * x);
  return t * (0.093179024 + t * (0.0914762 + t * (0.10062246 + t * (0.023576944 + t * (0.20431123
    + t * (-0.1756399 + t * (0.23015568 + t * -0.06768164)))))));
}

// The exact GELU (1606.08415): v Phi(v).
fn gelu(v: vec4<f32>) -> vec4<f32> {
  let x = abs(v);
  let q = tail(x) * exp(-0.5 * x * x);
  return v * select(q, 1.0 - q, v >= vec4(0.0));
}

// The derivative of GELU: Phi(v) + v phi(v).
fn geluGrad(v: vec4<f32>) -> vec4<f32> {
  let x = abs(v);
  let e = exp(-0.5 * x * x);
  let q = tail(x) * e;
  return select(q, 1.0 - q, v >= vec4(0.0)) + 0.39894228 * v * e;
}

// The upper 32 bits of the products m * c. They are computed from 16-bit halves, because WGSL has no instruction for them.
fn mulHigh(m: vec2<u32>, c: vec2<u32>) -> vec2<u32> {
  let mLow = m & vec2(0xffffu);
  let mHigh = m >> vec2(16u);
  let cLow = c & vec2(0xffffu);
  let cHigh = c >> vec2(16u);
  let cross = mHigh * cLow + ((mLow * cLow) >> vec2(16u));
  let middle = mLow * cHigh + (cross & vec2(0xffffu));
  return mHigh * cHigh + (cross >> vec2(16u)) + (middle >> vec2(16u));
}

// Ten rounds of Philox4x32 (Salmon et al., SC 2011), with the same words as philox.ts.
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
  let m = vec2(0xd2511f53u, 0xcd9e8d57u);
  var even = counter.xz;
  var odd = counter.yw;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let high = mulHigh(m, even);
    let low = m * even;
    even = high.yx ^ odd ^ key;
    odd = low.yx;
    key += vec2(0x9e3779b9u, 0xbb67ae85u);
  }
  return vec4(even.x, odd.x, even.y, odd.y);
}

// Dropout on four neighbours of C, of which `element` is the first: those with a random word below the threshold become 0.
fn dropout(v: vec4<f32>, element: u32, stream: u32) -> vec4<f32> {
  let seed = vec2(params.seedLow, params.seedHigh);
  let counter = vec4(element / 4u, 0u, stream, params.streamHigh);
  let shift = element % 4u;
  var words = philox(counter, seed);
  if (shift != 0u) {
    let next = philox(counter + vec4(1u, 0u, 0u, 0u), seed);
    let twoOn = select(vec4(words.w, next.xyz), vec4(words.zw, next.xy), shift == 2u);
    words = select(twoOn, vec4(words.yzw, next.x), shift == 1u);
  }
  // A factor of 0 keeps NaN.
  return v * select(vec4(0.0), vec4(params.keep), words >= vec4(params.threshold));
}

// Where the matrix begins in C, pre, bias and aux, the number of its first element within its branch, and the random stream.
struct Starts { c: u32, pre: u32, bias: u32, aux: u32, element: u32, stream: u32 }

// Applies the epilogue to columns `column` to `column + 3` of a row of the product, and stores them as far as they lie in the matrix.
fn store(row: u32, column: u32, starts: Starts, sum: vec4<f32>) {
  if (row >= params.m || column >= params.n) { return; }
  let flags = params.flags;
  var v = sum;
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let place = row * params.n + columns;
  let at = starts.c + place;
  if ((flags & BIAS) != 0u) {
    let start = starts.bias + columns;
    v += vec4(bias[start.x], bias[start.y], bias[start.z], bias[start.w]);
  }
  if ((flags & PRE) != 0u) {
    for (var s = 0u; s < min(4u, params.n - column); s++) { pre[starts.pre + place[s]] = ScalarPre(v[s]); }
  }
  if ((flags & GELU) != 0u) { v = gelu(v); }
  var other = vec4<f32>();
  if ((flags & (GELU_GRAD | ADD)) != 0u) {
    let start = starts.aux + row * params.auxRow + columns;
    other = vec4<f32>(vec4(aux[start.x], aux[start.y], aux[start.z], aux[start.w]));
  }
  if ((flags & GELU_GRAD) != 0u) { v *= geluGrad(other); }
  if (DROPOUT) { v = dropout(v, starts.element + row * params.n + column, starts.stream); }
  if ((flags & ADD) != 0u) { v += other; }
  for (var s = 0u; s < min(4u, params.n - column); s++) { c[at[s]] = ScalarC(v[s]); }
}

// Where an eight of a tile comes from and goes to: its unit in memory in the first tile of k, its line of the matrix and place along k, its
// block of the tile and its place there.
struct Slot { memory: u32, line: u32, k: u32, block: u32, place: u32 }

// Eight `index` of the tile of A, whose matrix begins at element `start`. Rows past the last one repeat others and are not stored.
fn slotOfA(index: u32, start: u32, first: u32) -> Slot {
  let line = (index / (PAIR_A * PLACES_A) * PAIR_A + index % PAIR_A) * LINES_A;
  let place = index / PAIR_A % PLACES_A;
  let inside = min(first + line, params.m - min(params.m, select(8u, 1u, ALONG_K_A)));
  let k = place * (8u / LINES_A);
  let memory = (start + inside * params.aRow + k * params.aCol) / UNIT_A;
  return Slot(memory, first + line, k, line / BLOCK_M, line % BLOCK_M * PITCH * LINES_A / 8u + place);
}

// The halves of an eight of A for the part of k that begins at k0, two in a word. Those past kEnd are zeros, or where a whole
// eight is loaded are others, which are left out when they are used, so that nothing waits for them before.
fn eightOfA(slot: Slot, start: u32, k0: u32, kEnd: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT_A == 8u) {
    let unit = slot.memory + select(k0 * (params.aCol / 8u), k0 / 8u, ALONG_K_A);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(a[unit][s], a[unit][s + 1u], a[unit][s + 2u], a[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return eight;
  }
  for (var i = 0u; i < 4u; i++) {
    let s = vec2(2u * i, 2u * i + 1u);
    let line = min(slot.line + select(s, vec2<u32>(), vec2(ALONG_K_A)), vec2(params.m - 1u));
    let k = k0 + slot.k + select(vec2<u32>(), s, vec2(ALONG_K_A));
    let element = start + line * params.aRow + min(k, vec2(kEnd - 1u)) * params.aCol;
    let two = vec2(a[element.x][0], a[element.y][0]);
    eight[i] = bitcast<u32>(select(vec2<f16>(), two, k < vec2(kEnd)));
  }
  return eight;
}

// Eight `index` of the tile of B, whose matrix begins at element `start`. Columns past the last one repeat others and are not stored.
fn slotOfB(index: u32, start: u32, first: u32) -> Slot {
  let line = (index / (PAIR_B * PLACES_B) * PAIR_B + index % PAIR_B) * LINES_B;
  let place = index / PAIR_B % PLACES_B;
  let inside = min(first + line, params.n - min(params.n, select(8u, 1u, ALONG_K_B)));
  let k = place * (8u / LINES_B);
  let memory = (start + inside * params.bCol + k * params.bRow) / UNIT_B;
  return Slot(memory, first + line, k, line / BLOCK_N, line % BLOCK_N * PITCH * LINES_B / 8u + place);
}

// The halves of an eight of B for the part of k that begins at k0, two in a word. Those past kEnd are zeros, or where a whole
// eight is loaded are others, which are left out when they are used, so that nothing waits for them before.
fn eightOfB(slot: Slot, start: u32, k0: u32, kEnd: u32) -> vec4<u32> {
  var eight: vec4<u32>;
  if (UNIT_B == 8u) {
    let unit = slot.memory + select(k0 * (params.bRow / 8u), k0 / 8u, ALONG_K_B);
    for (var i = 0u; i < 2u; i++) {
      let s = 4u * i;
      let two = bitcast<vec2<u32>>(vec4(b[unit][s], b[unit][s + 1u], b[unit][s + 2u], b[unit][s + 3u]));
      eight[2u * i] = two.x;
      eight[2u * i + 1u] = two.y;
    }
    return eight;
  }
  for (var i = 0u; i < 4u; i++) {
    let s = vec2(2u * i, 2u * i + 1u);
    let line = min(slot.line + select(s, vec2<u32>(), vec2(ALONG_K_B)), vec2(params.n - 1u));
    let k = k0 + slot.k + select(vec2<u32>(), s, vec2(ALONG_K_B));
    let element = start + line * params.bCol + min(k, vec2(kEnd - 1u)) * params.bRow;
    let two = vec2(b[element.x][0], b[element.y][0]);
    eight[i] = bitcast<u32>(select(vec2<f16>(), two, k < vec2(kEnd)));
  }
  return eight;
}

// Stores eight `index` of the tile of A.
fn setEightOfA(eight: vec4<u32>, slot: Slot, index: u32) {
  if (EIGHTS_A % WORKGROUP != 0u && index >= EIGHTS_A) { return; }
  // Compilers see that these lie inside, so they leave out checks and join the stores.
  let block = min(slot.block, SUBGROUPS_M - 1u);
  let start = min(slot.place, (BLOCK_M - LINES_A) * PITCH * LINES_A / 8u + PLACES_A - 1u) * (8u / LINES_A);
  for (var s = 0u; s < 4u; s++) {
    let two = bitcast<vec2<f16>>(eight[s]);
    tileA[block][start + 2u * s * STEP_A] = two.x;
    tileA[block][start + (2u * s + 1u) * STEP_A] = two.y;
  }
}

// Stores eight `index` of the tile of B.
fn setEightOfB(eight: vec4<u32>, slot: Slot, index: u32) {
  if (EIGHTS_B % WORKGROUP != 0u && index >= EIGHTS_B) { return; }
  // Compilers see that these lie inside, so they leave out checks and join the stores.
  let block = min(slot.block, SUBGROUPS_N - 1u);
  let start = min(slot.place, (BLOCK_N - LINES_B) * PITCH * LINES_B / 8u + PLACES_B - 1u) * (8u / LINES_B);
  for (var s = 0u; s < 4u; s++) {
    let two = bitcast<vec2<f16>>(eight[s]);
    tileB[block][start + 2u * s * STEP_B] = two.x;
    tileB[block][start + (2u * s + 1u) * STEP_B] = two.y;
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32,
) {
  let tilesN = (params.n + TILE_N - 1u) / TILE_N;
  let tilesM = (params.m + TILE_M - 1u) / TILE_M;
  let group = wid.y * groups.x + wid.x;
  let operands = wid.z * params.strides[0]; // the first elements of this branch's operands
  let outputs = wid.z * params.strides[1];
  let matrix = group / (tilesN * tilesM);
  let batch = matrix / params.splits;
  if (batch >= params.batches) { return; }
  let split = matrix % params.splits;
  let firstRow = group / tilesN % tilesM * TILE_M;
  let firstColumn = group % tilesN * TILE_N;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.k);
  let a0 = operands.x + batchOffset(params.a, batch);
  let b0 = operands.y + batchOffset(params.b, batch);
  // The row and column of this subgroup among all, and its first row and column of C within the tile.
  let own = subgroup % SUBGROUPS;
  let groupM = own / SUBGROUPS_N;
  let groupN = own % SUBGROUPS_N;
  let ownM = groupM * BLOCK_M;
  let ownN = groupN * BLOCK_N;

  var nextA: array<vec4<u32>, LOADS_A>;
  var nextB: array<vec4<u32>, LOADS_B>;
  var slotsA: array<Slot, LOADS_A>;
  for (var i = 0u; i < LOADS_A; i++) {
    slotsA[i] = slotOfA(local + i * WORKGROUP, a0, firstRow);
    nextA[i] = eightOfA(slotsA[i], a0, kStart, kEnd);
  }
  var slotsB: array<Slot, LOADS_B>;
  for (var i = 0u; i < LOADS_B; i++) {
    slotsB[i] = slotOfB(local + i * WORKGROUP, b0, firstColumn);
    nextB[i] = eightOfB(slotsB[i], b0, kStart, kEnd);
  }
  var sums: array<Result, FRAGMENTS_M * FRAGMENTS_N>;
  // Mesa 25.0.7 for AMD's GPUs leaves all but the first number of matrices of an array undefined where the array has no value yet.
  for (var i = 0u; i < FRAGMENTS_M * FRAGMENTS_N; i++) { sums[i] = Result(); }
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    if ((UNIT_A == 1u && UNIT_B == 1u) || k0 + DEPTH <= kEnd) {
      for (var i = 0u; i < LOADS_A; i++) { setEightOfA(nextA[i], slotsA[i], local + i * WORKGROUP); }
      for (var i = 0u; i < LOADS_B; i++) { setEightOfB(nextB[i], slotsB[i], local + i * WORKGROUP); }
    } else {
      for (var i = 0u; i < LOADS_A; i++) {
        let eight = select(vec4<u32>(), nextA[i], UNIT_A == 1u || k0 + slotsA[i].k < kEnd);
        setEightOfA(eight, slotsA[i], local + i * WORKGROUP);
      }
      for (var i = 0u; i < LOADS_B; i++) {
        let eight = select(vec4<u32>(), nextB[i], UNIT_B == 1u || k0 + slotsB[i].k < kEnd);
        setEightOfB(eight, slotsB[i], local + i * WORKGROUP);
      }
    }
    workgroupBarrier();
    if (k0 + DEPTH < kEnd) {
      for (var i = 0u; i < LOADS_A; i++) {
        nextA[i] = eightOfA(slotsA[i], a0, k0 + DEPTH, kEnd);
      }
      for (var i = 0u; i < LOADS_B; i++) {
        nextB[i] = eightOfB(slotsB[i], b0, k0 + DEPTH, kEnd);
      }
    }
    for (var k = 0u; k < DEPTH; k += 16u) {
      var left: array<Left, FRAGMENTS_M>;
      for (var i = 0u; i < FRAGMENTS_M; i++) {
        left[i] = subgroupMatrixLoad<Left, row_major>(&tileA[groupM], 16u * i * PITCH + k, PITCH);
      }
      for (var j = 0u; j < FRAGMENTS_N; j++) {
        var right: Right;
        right = subgroupMatrixLoad<Right, col_major>(&tileB[groupN], 16u * j * PITCH + k, PITCH);
        for (var i = 0u; i < FRAGMENTS_M; i++) {
          sums[i * FRAGMENTS_N + j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i * FRAGMENTS_N + j]);
        }
      }
    }
    workgroupBarrier();
  }

  let c0 = (split * params.batches + batch) * params.m * params.n;
  let starts = Starts(
    outputs.x + c0,
    outputs.y + c0,
    operands.z,
    operands.w + batchOffset(params.aux, batch),
    c0,
    params.streamLow + wid.z * params.streamStep,
  );
  for (var i = 0u; i < FRAGMENTS_M; i++) {
    for (var j = 0u; j < FRAGMENTS_N; j++) {
      subgroupMatrixStore<row_major>(&results[own], 0u, sums[i * FRAGMENTS_N + j], 16u);
      workgroupBarrier();
      // Surplus subgroups computed the same and store nothing.
      for (var q = lane; q < select(0u, 64u, subgroup < SUBGROUPS); q += lanes) {
        let at = q * 4u;
        let sum = vec4(results[own][at], results[own][at + 1u], results[own][at + 2u], results[own][at + 3u]);
        store(firstRow + ownM + 16u * i + q / 4u, firstColumn + ownN + 16u * j + q % 4u * 4u, starts, sum);
      }
      workgroupBarrier();
    }
  }
}
