// The matrix product for GPUs. A workgroup of 16 x 16 threads computes a tile of C from tiles of A and B in workgroup memory, each
// thread BLOCKS x BLOCKS blocks of 4 x 4 elements. A thread loads one 4 x 4 block of A or of B at a time, the next one while the
// last ones are multiplied.

// The 4 x 4 blocks of a thread in either direction. With twice as many a tile is half as deep.
const BLOCKS: u32 = 1u;
const DEPTH: u32 = 32u / BLOCKS;
// The steps along k that are multiplied without a wait between. Large tiles have products enough in one.
const STEPS: u32 = select(1u, 4u, BLOCKS == 1u);
const TILE: u32 = 64u * BLOCKS;
// Whether neighbours in memory are neighbours along k.
const ALONG_K_A: bool = true;
const ALONG_K_B: bool = true;
// Element types of the bindings: scalars, or vec4s where all neighbours can be loaded by fours.
alias ElementA = f32;
alias ElementB = f32;
const FOURS_A: bool = false;
const FOURS_B: bool = false;
// Element types of aux, c and pre. Sums are f32.
alias ScalarAux = f32;
alias ScalarC = f32;
alias ScalarPre = f32;

// Whether k is so long that sums of DEPTH products are added up on their own.
const LONG: bool = false;

// Whether elements are dropped. It is a constant because some drivers run the code whether or not the flags ask for it.
const DROPOUT: bool = false;

// Bits of `flags`, in the order of the steps. Dropout, which DROPOUT asks for, comes before ADD.
const BIAS: u32 = 1u; const PRE: u32 = 2u; const GELU: u32 = 4u; const GELU_GRAD: u32 = 8u; const ADD: u32 = 32u;

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

// The vec4s from one k to the next, padded by one to keep threads off each other's banks.
const PITCH: u32 = TILE / 4u + 1u;

var<workgroup> tileA: array<vec4<f32>, PITCH * DEPTH>; // [k][m]
var<workgroup> tileB: array<vec4<f32>, PITCH * DEPTH>; // [k][n]

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

// The place of a thread's block in a tile, as (row or column, k). Neighbouring threads take neighbours in memory.
fn blockPlace(index: u32, alongK: bool) -> vec2<u32> {
  if (alongK) { return 4u * vec2(index / (DEPTH / 4u), index % (DEPTH / 4u)); }
  return 4u * vec2(index % (TILE / 4u), index / (TILE / 4u));
}

// Four neighbours of A, along k with ALONG_K_A, with zeros past the end of k. Rows past the last one repeat it and are not stored.
fn fourOfA(start: u32, row: u32, k: u32, kEnd: u32) -> vec4<f32> {
  let along = vec4(0u, 1u, 2u, 3u);
  let rows = min(select(row + along, vec4(row), ALONG_K_A), vec4(params.m - 1u));
  let ks = select(vec4(k), k + along, ALONG_K_A);
  let at = start + rows * params.aRow + min(ks, vec4(kEnd - 1u)) * params.aCol;
  // With FOURS_A a four lies before the end of k as a whole, or past it.
  if (FOURS_A) { return select(vec4<f32>(), vec4<f32>(vec4(a[at.x / 4u])), k < kEnd); }
  // The inner vec4() and .x let this compile where the element is a vector too.
  let four = vec4<f32>(vec4(vec4(a[at.x]).x, vec4(a[at.y]).x, vec4(a[at.z]).x, vec4(a[at.w]).x));
  return select(vec4<f32>(), four, ks < vec4(kEnd));
}

// Four neighbours of B, as fourOfA.
fn fourOfB(start: u32, column: u32, k: u32, kEnd: u32) -> vec4<f32> {
  let along = vec4(0u, 1u, 2u, 3u);
  let columns = min(select(column + along, vec4(column), ALONG_K_B), vec4(params.n - 1u));
  let ks = select(vec4(k), k + along, ALONG_K_B);
  let at = start + columns * params.bCol + min(ks, vec4(kEnd - 1u)) * params.bRow;
  if (FOURS_B) { return select(vec4<f32>(), vec4<f32>(vec4(b[at.x / 4u])), k < kEnd); }
  let four = vec4<f32>(vec4(vec4(b[at.x]).x, vec4(b[at.y]).x, vec4(b[at.z]).x, vec4(b[at.w]).x));
  return select(vec4<f32>(), four, ks < vec4(kEnd));
}

// 4 x 4 elements from (row, k) on, a vec4 of rows for each k.
fn blockOfA(start: u32, at: vec2<u32>, kEnd: u32) -> mat4x4<f32> {
  if (ALONG_K_A) {
    return transpose(mat4x4(
      fourOfA(start, at.x, at.y, kEnd),
      fourOfA(start, at.x + 1u, at.y, kEnd),
      fourOfA(start, at.x + 2u, at.y, kEnd),
      fourOfA(start, at.x + 3u, at.y, kEnd),
    ));
  }
  return mat4x4(
    fourOfA(start, at.x, at.y, kEnd),
    fourOfA(start, at.x, at.y + 1u, kEnd),
    fourOfA(start, at.x, at.y + 2u, kEnd),
    fourOfA(start, at.x, at.y + 3u, kEnd),
  );
}

// 4 x 4 elements from (column, k) on, a vec4 of columns for each k.
fn blockOfB(start: u32, at: vec2<u32>, kEnd: u32) -> mat4x4<f32> {
  if (ALONG_K_B) {
    return transpose(mat4x4(
      fourOfB(start, at.x, at.y, kEnd),
      fourOfB(start, at.x + 1u, at.y, kEnd),
      fourOfB(start, at.x + 2u, at.y, kEnd),
      fourOfB(start, at.x + 3u, at.y, kEnd),
    ));
  }
  return mat4x4(
    fourOfB(start, at.x, at.y, kEnd),
    fourOfB(start, at.x, at.y + 1u, kEnd),
    fourOfB(start, at.x, at.y + 2u, kEnd),
    fourOfB(start, at.x, at.y + 3u, kEnd),
  );
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let tilesN = (params.n + TILE - 1u) / TILE;
  let tilesM = (params.m + TILE - 1u) / TILE;
  let group = wid.y * groups.x + wid.x;
  let operands = wid.z * params.strides[0]; // the first elements of this branch's operands
  let results = wid.z * params.strides[1];
  let matrix = group / (tilesN * tilesM);
  let batch = matrix / params.splits;
  if (batch >= params.batches) { return; }
  let split = matrix % params.splits;
  let firstRow = group / tilesN % tilesM * TILE;
  let firstColumn = group % tilesN * TILE;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.k);
  let a0 = operands.x + batchOffset(params.a, batch);
  let b0 = operands.y + batchOffset(params.b, batch);
  // Half of the threads load A, the other half B.
  let loadsA = local < 128u;
  let inTile = select(blockPlace(local - 128u, ALONG_K_B), blockPlace(local, ALONG_K_A), loadsA);
  let slot = inTile.y * PITCH + inTile.x / 4u;
  let x = local % 16u;
  let y = local / 16u;

  var next: mat4x4<f32>;
  if (loadsA) {
    next = blockOfA(a0, vec2(firstRow, kStart) + inTile, kEnd);
  } else {
    next = blockOfB(b0, vec2(firstColumn, kStart) + inTile, kEnd);
  }
  // Row r of block (i, j) is sums[4 (BLOCKS i + j) + r].
  var sums: array<vec4<f32>, 4u * BLOCKS * BLOCKS>;
  var totals: array<vec4<f32>, 4u * BLOCKS * BLOCKS>;
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    if (loadsA) {
      for (var s = 0u; s < 4u; s++) { tileA[slot + s * PITCH] = next[s]; }
    } else {
      for (var s = 0u; s < 4u; s++) { tileB[slot + s * PITCH] = next[s]; }
    }
    workgroupBarrier();
    if (k0 + DEPTH < kEnd) {
      if (loadsA) {
        next = blockOfA(a0, vec2(firstRow, k0 + DEPTH) + inTile, kEnd);
      } else {
        next = blockOfB(b0, vec2(firstColumn, k0 + DEPTH) + inTile, kEnd);
      }
    }
    // Loads of several steps come before their products, so that a wave waits once for all.
    for (var step = 0u; step < DEPTH / STEPS; step++) {
      var left: array<vec4<f32>, STEPS * BLOCKS>;
      var right: array<vec4<f32>, STEPS * BLOCKS>;
      for (var s = 0u; s < STEPS; s++) {
        for (var i = 0u; i < BLOCKS; i++) {
          left[s * BLOCKS + i] = tileA[(step * STEPS + s) * PITCH + y + 16u * i];
          right[s * BLOCKS + i] = tileB[(step * STEPS + s) * PITCH + x + 16u * i];
        }
      }
      for (var s = 0u; s < STEPS; s++) {
        for (var i = 0u; i < BLOCKS; i++) {
          let a = left[s * BLOCKS + i];
          for (var j = 0u; j < BLOCKS; j++) {
            let b = right[s * BLOCKS + j];
            let block = 4u * (BLOCKS * i + j);
            sums[block] += a.x * b;
            sums[block + 1u] += a.y * b;
            sums[block + 2u] += a.z * b;
            sums[block + 3u] += a.w * b;
          }
        }
      }
    }
    if (LONG) {
      for (var s = 0u; s < 4u * BLOCKS * BLOCKS; s++) {
        totals[s] += sums[s];
        sums[s] = vec4<f32>();
      }
    }
    workgroupBarrier();
  }
  if (LONG) { sums = totals; }

  let c0 = (split * params.batches + batch) * params.m * params.n;
  let starts = Starts(
    results.x + c0,
    results.y + c0,
    operands.z,
    operands.w + batchOffset(params.aux, batch),
    c0,
    params.streamLow + wid.z * params.streamStep,
  );
  for (var i = 0u; i < BLOCKS; i++) {
    for (var j = 0u; j < BLOCKS; j++) {
      for (var r = 0u; r < 4u; r++) {
        store(firstRow + 64u * i + 4u * y + r, firstColumn + 64u * j + 4u * x, starts, sums[4u * (BLOCKS * i + j) + r]);
      }
    }
  }
}
