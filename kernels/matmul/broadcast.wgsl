// The matrix product for software devices where A lies along k in aligned fours. Loading an element costs as much there as three
// multiply-adds of a vector, and a value of another lane hardly more than one of its own. A lane owns 4 columns. For every DEPTH
// elements along k it first loads its DEPTH x 4 block of B into private memory, which is registers on a software device, then passes over
// the rows of A. Each lane loads a share of a row, and broadcasts hand it round: vector v of lane l meets row `v * LANES + l` of the
// block. Between blocks C or private memory holds the sums.
enable subgroups;

// The threads of a workgroup, which lie in one subgroup: 4, 8 or 16.
const LANES: u32 = 8u;
// Elements along k of a block. The second half of a block is left out where k ends before it.
const DEPTH: u32 = 128u;
// The most rows whose sums are in private memory, which is faster on SwiftShader and necessary for a float16 C. With 1, C holds the
// sums.
const SUMS: u32 = 1u;
const PRIVATE: bool = SUMS > 1u;
// The steps of the epilogue that `flags` may ask for. Some drivers run the code of every step whether or not it is asked for.
const EPILOGUE: u32 = 46u;

// Element types in memory. Sums are f32.
alias ScalarA = f32;
alias ScalarB = f32;
alias ScalarAux = f32;
alias ScalarC = f32;
alias ScalarPre = f32;

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

@group(0) @binding(0) var<storage, read> a: array<vec4<ScalarA>>; // [batches, m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<ScalarB>; // [batches, k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> aux: array<ScalarAux>; // [batches, m, n] by strides, rows contiguous
@group(0) @binding(4) var<storage, read_write> c: array<ScalarC>; // [splits, batches, m, n]
@group(0) @binding(5) var<storage, read_write> pre: array<ScalarPre>; // [batches, m, n]
@group(1) @binding(0) var<uniform> params: Params;

// The block, and behind it the sum of the row at hand: compilers move additions behind the loads that follow them, and would hold the
// products until then.
var<private> block: array<vec4<f32>, DEPTH + 1u>;
var<private> sums: array<vec4<f32>, SUMS>;

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

// k to k + 3 of the row of A that begins at `row`. They lie before the end of k as a whole, or past it.
fn fourOfRow(row: u32, k: u32, kEnd: u32) -> vec4<f32> {
  return select(vec4<f32>(), vec4<f32>(a[(row + k) / 4u]), k < kEnd);
}

fn loadC(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4(c[at.x], c[at.y], c[at.z], c[at.w]));
}

fn storeC(at: vec4<u32>, v: vec4<f32>) {
  c[at.x] = ScalarC(v.x);
  c[at.y] = ScalarC(v.y);
  c[at.z] = ScalarC(v.z);
  c[at.w] = ScalarC(v.w);
}

fn asked(step: u32) -> bool {
  return (EPILOGUE & step) != 0u && (params.flags & step) != 0u;
}

// Where a lane's columns lie: in C and its row of aux, how far before pre's those of C are, the number of its first column and the last
// that the matrix has, of four, the number of the first element of its row 0, and the random stream.
struct LanePlace { c: vec4<u32>, aux: vec4<u32>, pre: u32, lastOwn: u32, element: u32, stream: u32 }

// Applies the epilogue but for the bias to a lane's four columns of a row of the product.
fn epilogue(row: u32, place: LanePlace, sum: vec4<f32>) -> vec4<f32> {
  var v = sum;
  if (asked(PRE)) {
    let at = place.pre + place.c + row * params.n;
    pre[at.x] = ScalarPre(v.x);
    pre[at.y] = ScalarPre(v.y);
    pre[at.z] = ScalarPre(v.z);
    pre[at.w] = ScalarPre(v.w);
  }
  if (asked(GELU)) { v = gelu(v); }
  var other = vec4<f32>();
  if (asked(GELU_GRAD | ADD)) {
    let at = place.aux + row * params.auxRow;
    other = vec4<f32>(vec4(aux[at.x], aux[at.y], aux[at.z], aux[at.w]));
  }
  if (asked(GELU_GRAD)) { v *= geluGrad(other); }
  if (DROPOUT) {
    v = dropout(v, place.element + row * params.n, place.stream);
    // A column that repeats the last one must get its value.
    v = select(v, vec4(v[place.lastOwn]), vec4(0u, 1u, 2u, 3u) > vec4(place.lastOwn));
  }
  if (asked(ADD)) { v += other; }
  return v;
}

// Adds what a block gives for a row to its sum, and stores it, with the epilogue applied behind the last block.
fn storeSum(row: u32, first: u32, place: LanePlace, continued: bool, ends: bool, inside: bool) {
  if (PRIVATE) {
    sums[row - first] += block[DEPTH];
    return;
  }
  let at = place.c + row * params.n;
  var v = block[DEPTH];
  if (continued) { v += loadC(at); }
  if (!inside) { return; }
  if (ends) { v = epilogue(row, place, v); }
  storeC(at, v);
}

// The product of a vector, an element in each lane, and the rows of the block from `at` on.
fn times(x: f32, at: u32) -> vec4<f32> {
  var sum = subgroupBroadcast(x, 0u) * block[at] + subgroupBroadcast(x, 1u) * block[at + 1u]
    + subgroupBroadcast(x, 2u) * block[at + 2u] + subgroupBroadcast(x, 3u) * block[at + 3u];
  if (LANES > 4u) {
    sum += subgroupBroadcast(x, 4u) * block[at + 4u] + subgroupBroadcast(x, 5u) * block[at + 5u]
      + subgroupBroadcast(x, 6u) * block[at + 6u] + subgroupBroadcast(x, 7u) * block[at + 7u];
  }
  if (LANES > 8u) {
    sum += subgroupBroadcast(x, 8u) * block[at + 8u] + subgroupBroadcast(x, 9u) * block[at + 9u]
      + subgroupBroadcast(x, 10u) * block[at + 10u] + subgroupBroadcast(x, 11u) * block[at + 11u];
    sum += subgroupBroadcast(x, 12u) * block[at + 12u] + subgroupBroadcast(x, 13u) * block[at + 13u]
      + subgroupBroadcast(x, 14u) * block[at + 14u] + subgroupBroadcast(x, 15u) * block[at + 15u];
  }
  return sum;
}

// The same of four vectors.
fn timesFour(x: vec4<f32>, at: u32) -> vec4<f32> {
  return times(x.x, at) + times(x.y, at + LANES) + times(x.z, at + 2u * LANES) + times(x.w, at + 3u * LANES);
}

// The product of 64 elements of a row from k on and 64 rows of the block from `at` on. All loads come first: compilers move additions behind
// later loads and hold the products until then.
fn timesRow(row: u32, k: u32, kEnd: u32, at: u32, member: u32) -> vec4<f32> {
  let own = k + 4u * member;
  let x0 = fourOfRow(row, own, kEnd);
  if (LANES == 16u) { return timesFour(x0, at); }
  let x1 = fourOfRow(row, own + 4u * LANES, kEnd);
  if (LANES == 8u) { return timesFour(x0, at) + timesFour(x1, at + 32u); }
  let x2 = fourOfRow(row, own + 32u, kEnd);
  let x3 = fourOfRow(row, own + 48u, kEnd);
  return timesFour(x0, at) + timesFour(x1, at + 16u) + (timesFour(x2, at + 32u) + timesFour(x3, at + 48u));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles = (params.n + 4u * LANES - 1u) / (4u * LANES);
  let parts = (params.m + params.rows - 1u) / params.rows;
  let group = wid.y * groups.x + wid.x;
  let batch = group / (tiles * parts * params.splits);
  if (batch >= params.batches) { return; }
  let split = group / (tiles * parts) % params.splits;
  let first = group / tiles % parts * params.rows;
  let end = min(first + params.rows, params.m);
  let column = group % tiles * 4u * LANES + local * 4u;
  // Columns past the last one repeat it: they compute and store the same again, or nothing where all four are past it.
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let inside = column < params.n;
  let member = lane % LANES;

  let operands = wid.z * params.strides[0]; // the first elements of this branch's operands
  let results = wid.z * params.strides[1];
  let a0 = operands.x + batchOffset(params.a, batch);
  let b0 = operands.y + batchOffset(params.b, batch) + columns * params.bCol;
  let place = LanePlace(
    results.x + (split * params.batches + batch) * params.m * params.n + columns,
    operands.w + batchOffset(params.aux, batch) + columns,
    results.y - results.x,
    min(3u, params.n - 1u - column),
    batch * params.m * params.n + column,
    params.streamLow + wid.z * params.streamStep,
  );
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.k);

  var start = vec4(0.0);
  if ((params.flags & BIAS) != 0u) {
    let at = operands.z + columns;
    start = vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }

  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    let deep = kEnd - k0 > 64u;
    for (var p = 0u; p < select(64u, DEPTH, deep); p++) {
      let k = k0 + p / (4u * LANES) * 4u * LANES + p % LANES * 4u + p / LANES % 4u;
      let at = b0 + min(k, kEnd - 1u) * params.bRow;
      // Rows past the end are 0 here and in A, since the last one may be infinite.
      block[p] = select(vec4(0.0), vec4<f32>(vec4(b[at.x], b[at.y], b[at.z], b[at.w])), k < kEnd);
    }
    let continued = k0 > kStart;
    let ends = kEnd - k0 <= DEPTH;
    let initial = select(start, vec4(0.0), continued);

    for (var row = first; row < end; row++) {
      block[DEPTH] = initial + timesRow(a0 + row * params.aRow, k0, kEnd, 0u, member);
      if (deep) { block[DEPTH] += timesRow(a0 + row * params.aRow, k0 + 64u, kEnd, 64u, member); }
      storeSum(row, first, place, continued, ends, inside);
    }
  }

  if (!PRIVATE || !inside) { return; }
  for (var row = first; row < end; row++) { storeC(place.c + row * params.n, epilogue(row, place, sums[row - first])); }
}
