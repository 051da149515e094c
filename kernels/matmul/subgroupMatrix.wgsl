// The matrix product of float16 operands for GPUs whose subgroups multiply 16 x 16 matrices (tensor cores), with sums in f32. A
// workgroup computes a tile of C. It loads tiles of A and B, DEPTH deep, into workgroup memory, with zeros past the end of k, and
// each subgroup multiplies FRAGMENTS_M x FRAGMENTS_N matrices. The next tiles are loaded from memory meanwhile.
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
// Element types of the bindings: f16, or vec4<f16> where all neighbours can be loaded by fours.
alias ElementA = f16;
alias ElementB = f16;
const FOURS_A: bool = false;
const FOURS_B: bool = false;
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
// The elements from one row of a tile in memory to the next. A padding of 8 keeps rows in different banks and aligned to 16 bytes.
const PITCH_A: u32 = select(TILE_M, DEPTH, ALONG_K_A) + 8u;
const PITCH_B: u32 = select(TILE_N, DEPTH, ALONG_K_B) + 8u;
const LINES_A: u32 = select(DEPTH, TILE_M, ALONG_K_A);
const LINES_B: u32 = select(DEPTH, TILE_N, ALONG_K_B);
// The fours of neighbours that a thread loads of a tile.
const LOADS_A: u32 = (TILE_M * DEPTH / 4u + WORKGROUP - 1u) / WORKGROUP;
const LOADS_B: u32 = (TILE_N * DEPTH / 4u + WORKGROUP - 1u) / WORKGROUP;

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

@group(0) @binding(0) var<storage, read> a: array<ElementA>; // [batches, m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<ElementB>; // [batches, k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> aux: array<ScalarAux>; // [batches, m, n] by strides, rows contiguous
@group(0) @binding(4) var<storage, read_write> c: array<ScalarC>; // [splits, batches, m, n]
@group(0) @binding(5) var<storage, read_write> pre: array<ScalarPre>; // [batches, m, n]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> tileA: array<f16, LINES_A * PITCH_A>; // [m][k] or [k][m]
var<workgroup> tileB: array<f16, LINES_B * PITCH_B>; // [n][k] or [k][n]
var<workgroup> results: array<f32, SUBGROUPS * 256>; // a matrix of each subgroup, on its way to C

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

// The place of four `index` of a tile, as (row or column, k).
fn fourPlace(index: u32, alongK: bool, size: u32) -> vec2<u32> {
  if (alongK) { return vec2(index / (DEPTH / 4u), index % (DEPTH / 4u) * 4u); }
  return vec2(index % (size / 4u) * 4u, index / (size / 4u));
}

// Four neighbours of A from (row, k) on, with zeros past the end of k. Rows past the last one repeat others and are not stored.
fn halvesOfA(start: u32, at: vec2<u32>, kEnd: u32) -> vec4<f16> {
  if (FOURS_A) {
    let line = select(min(at.x, params.m - 4u), min(at.x, params.m - 1u), ALONG_K_A);
    let element = start + line * params.aRow + min(at.y, kEnd - 1u) * params.aCol;
    return select(vec4<f16>(), vec4<f16>(a[element / 4u]), at.y < kEnd);
  }
  let along = vec4(0u, 1u, 2u, 3u);
  let row = min(select(at.x + along, vec4(at.x), ALONG_K_A), vec4(params.m - 1u));
  let k = select(vec4(at.y), at.y + along, ALONG_K_A);
  let element = start + row * params.aRow + min(k, vec4(kEnd - 1u)) * params.aCol;
  // The vec4() and .x let this compile where the element is a vector too.
  let v = vec4(
    vec4<f16>(a[element.x]).x, vec4<f16>(a[element.y]).x, vec4<f16>(a[element.z]).x, vec4<f16>(a[element.w]).x,
  );
  return select(vec4<f16>(), v, k < vec4(kEnd));
}

// Four neighbours of B from (column, k) on, as halvesOfA.
fn halvesOfB(start: u32, at: vec2<u32>, kEnd: u32) -> vec4<f16> {
  if (FOURS_B) {
    let line = select(min(at.x, params.n - 4u), min(at.x, params.n - 1u), ALONG_K_B);
    let element = start + line * params.bCol + min(at.y, kEnd - 1u) * params.bRow;
    return select(vec4<f16>(), vec4<f16>(b[element / 4u]), at.y < kEnd);
  }
  let along = vec4(0u, 1u, 2u, 3u);
  let column = min(select(at.x + along, vec4(at.x), ALONG_K_B), vec4(params.n - 1u));
  let k = select(vec4(at.y), at.y + along, ALONG_K_B);
  let element = start + column * params.bCol + min(k, vec4(kEnd - 1u)) * params.bRow;
  // The vec4() and .x let this compile where the element is a vector too.
  let v = vec4(
    vec4<f16>(b[element.x]).x, vec4<f16>(b[element.y]).x, vec4<f16>(b[element.z]).x, vec4<f16>(b[element.w]).x,
  );
  return select(vec4<f16>(), v, k < vec4(kEnd));
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
  // The first row and column of this subgroup's matrices.
  let own = subgroup % SUBGROUPS;
  let ownM = own / SUBGROUPS_N * 16u * FRAGMENTS_M;
  let ownN = own % SUBGROUPS_N * 16u * FRAGMENTS_N;

  var nextA: array<vec4<f16>, LOADS_A>;
  var nextB: array<vec4<f16>, LOADS_B>;
  for (var i = 0u; i < LOADS_A; i++) {
    nextA[i] = halvesOfA(a0, vec2(firstRow, kStart) + fourPlace(local + i * WORKGROUP, ALONG_K_A, TILE_M), kEnd);
  }
  for (var i = 0u; i < LOADS_B; i++) {
    nextB[i] = halvesOfB(b0, vec2(firstColumn, kStart) + fourPlace(local + i * WORKGROUP, ALONG_K_B, TILE_N), kEnd);
  }
  var sums: array<Result, FRAGMENTS_M * FRAGMENTS_N>;
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    for (var i = 0u; i < LOADS_A; i++) {
      let index = local + i * WORKGROUP;
      if (index < TILE_M * DEPTH / 4u) {
        let at = fourPlace(index, ALONG_K_A, TILE_M);
        let start = select(at.y * PITCH_A + at.x, at.x * PITCH_A + at.y, ALONG_K_A);
        for (var s = 0u; s < 4u; s++) { tileA[start + s] = nextA[i][s]; }
      }
    }
    for (var i = 0u; i < LOADS_B; i++) {
      let index = local + i * WORKGROUP;
      if (index < TILE_N * DEPTH / 4u) {
        let at = fourPlace(index, ALONG_K_B, TILE_N);
        let start = select(at.y * PITCH_B + at.x, at.x * PITCH_B + at.y, ALONG_K_B);
        for (var s = 0u; s < 4u; s++) { tileB[start + s] = nextB[i][s]; }
      }
    }
    workgroupBarrier();
    if (k0 + DEPTH < kEnd) {
      for (var i = 0u; i < LOADS_A; i++) {
        nextA[i] = halvesOfA(a0, vec2(firstRow, k0 + DEPTH) + fourPlace(local + i * WORKGROUP, ALONG_K_A, TILE_M), kEnd);
      }
      for (var i = 0u; i < LOADS_B; i++) {
        nextB[i] = halvesOfB(b0, vec2(firstColumn, k0 + DEPTH) + fourPlace(local + i * WORKGROUP, ALONG_K_B, TILE_N), kEnd);
      }
    }
    for (var k = 0u; k < DEPTH; k += 16u) {
      var left: array<Left, FRAGMENTS_M>;
      for (var i = 0u; i < FRAGMENTS_M; i++) {
        let row = ownM + 16u * i;
        if (ALONG_K_A) {
          left[i] = subgroupMatrixLoad<Left, row_major>(&tileA, row * PITCH_A + k, PITCH_A);
        } else {
          left[i] = subgroupMatrixLoad<Left, col_major>(&tileA, k * PITCH_A + row, PITCH_A);
        }
      }
      for (var j = 0u; j < FRAGMENTS_N; j++) {
        let column = ownN + 16u * j;
        var right: Right;
        if (ALONG_K_B) {
          right = subgroupMatrixLoad<Right, col_major>(&tileB, column * PITCH_B + k, PITCH_B);
        } else {
          right = subgroupMatrixLoad<Right, row_major>(&tileB, k * PITCH_B + column, PITCH_B);
        }
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
      subgroupMatrixStore<row_major>(&results, own * 256u, sums[i * FRAGMENTS_N + j], 16u);
      workgroupBarrier();
      // Surplus subgroups computed the same and store nothing.
      for (var q = lane; q < select(0u, 64u, subgroup < SUBGROUPS); q += lanes) {
        let at = own * 256u + q * 4u;
        let sum = vec4(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
        store(firstRow + ownM + 16u * i + q / 4u, firstColumn + ownN + 16u * j + q % 4u * 4u, starts, sum);
      }
      workgroupBarrier();
    }
  }
}
