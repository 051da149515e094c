// The matrix product for software devices, on which a load costs as much as ten multiply-adds and a swap between lanes next to nothing. A
// lane owns 4 columns. For every 64 elements along k it first loads its 4 x 64 block of B into private memory, which is registers on a
// software device, then passes over the rows of A. LANES lanes load each row together, a share each, and hand it round by swaps. Number
// `member` of these lanes sees the row's vec4s in the order 0 ^ member, 1 ^ member, … and keeps its block in that order. Between blocks C
// or private memory holds the sums. The rest of the epilogue is a last pass over the rows.
enable subgroups;

// Whether subgroups may have only 4 lanes. Otherwise they have at least 8.
const NARROW: bool = true;
const LANES: u32 = select(8u, 4u, NARROW);
const DEPTH: u32 = 64u;
// The most rows whose sums are in private memory, which is faster on SwiftShader and necessary for a float16 C. With 1, C holds the
// sums.
const SUMS: u32 = 512u;
const PRIVATE: bool = SUMS > 1u;
// The steps of the last pass that `flags` may ask for. Some drivers run the code of every step whether or not it is asked for.
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

@group(0) @binding(0) var<storage, read> a: array<ScalarA>; // [batches, m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<ScalarB>; // [batches, k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> aux: array<ScalarAux>; // [batches, m, n] by strides, rows contiguous
@group(0) @binding(4) var<storage, read_write> c: array<ScalarC>; // [splits, batches, m, n]
@group(0) @binding(5) var<storage, read_write> pre: array<ScalarPre>; // [batches, m, n]
@group(1) @binding(0) var<uniform> params: Params;

// Vec4 q along k of column s is block[16 s + q].
var<private> block: array<vec4<f32>, 64>;
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

fn shareOfA(row: u32, offsets: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4(a[row + offsets.x], a[row + offsets.y], a[row + offsets.z], a[row + offsets.w]));
}

fn columnOfB(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4(b[at.x], b[at.y], b[at.z], b[at.w]));
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

fn dots(x: vec4<f32>, q: u32) -> vec4<f32> {
  return vec4(dot(x, block[q]), dot(x, block[16u + q]), dot(x, block[32u + q]), dot(x, block[48u + q]));
}

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles = (params.n + 31u) / 32u;
  let parts = (params.m + params.rows - 1u) / params.rows;
  let group = wid.y * groups.x + wid.x;
  let batch = group / (tiles * parts * params.splits);
  if (batch >= params.batches) { return; }
  let split = group / (tiles * parts) % params.splits;
  let first = group / tiles % parts * params.rows;
  let end = min(first + params.rows, params.m);
  let column = group % tiles * 32u + local * 4u;
  // Columns past the last one repeat it: they compute and store the same again, or nothing where all four are past it.
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let inside = column < params.n;
  let member = lane % LANES;

  let operands = wid.z * params.strides[0]; // the first elements of this branch's operands
  let results = wid.z * params.strides[1];
  let a0 = operands.x + batchOffset(params.a, batch);
  let b0 = operands.y + batchOffset(params.b, batch) + columns * params.bCol;
  let c0 = results.x + (split * params.batches + batch) * params.m * params.n + columns;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.k);
  let last = kEnd - 1u;
  // This is 16, but only known at run time, so drivers do not unroll the loop, which costs seconds of compilation.
  let quads = min(16u, params.chunk + 15u);

  var start = vec4(0.0);
  if ((params.flags & BIAS) != 0u) {
    let at = operands.z + columns;
    start = vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }

  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    for (var q = 0u; q < quads; q++) {
      let k = vec4(k0 + 4u * (q ^ member)) + vec4(0u, 1u, 2u, 3u);
      let there = k <= vec4(last);
      let at = min(k, vec4(last)) * params.bRow;
      block[q] = select(vec4(0.0), columnOfB(at + b0.x), there);
      block[16u + q] = select(vec4(0.0), columnOfB(at + b0.y), there);
      block[32u + q] = select(vec4(0.0), columnOfB(at + b0.z), there);
      block[48u + q] = select(vec4(0.0), columnOfB(at + b0.w), there);
    }
    // This lane's share of a row. Elements past the end are 0 here and in the block, since the last one may be infinite.
    let k = vec4(k0 + 4u * member) + vec4(0u, 1u, 2u, 3u);
    let o0 = min(k, vec4(last)) * params.aCol;
    let o1 = min(k + 16u, vec4(last)) * params.aCol;
    let o2 = min(k + 32u, vec4(last)) * params.aCol;
    let o3 = min(k + 48u, vec4(last)) * params.aCol;
    let there0 = k <= vec4(last);
    let there1 = k + 16u <= vec4(last);
    let there2 = k + 32u <= vec4(last);
    let there3 = k + 48u <= vec4(last);
    let continued = k0 > kStart;
    let initial = select(start, vec4(0.0), continued);

    for (var row = first; row < end; row++) {
      let rowA = a0 + row * params.aRow;
      let at = c0 + row * params.n;
      var sum = initial;
      let x0 = select(vec4(0.0), shareOfA(rowA, o0), there0);
      let x2 = select(vec4(0.0), shareOfA(rowA, o2), there2);
      var x1: vec4<f32>;
      var x3: vec4<f32>;
      if (NARROW) {
        x1 = select(vec4(0.0), shareOfA(rowA, o1), there1);
        x3 = select(vec4(0.0), shareOfA(rowA, o3), there3);
      } else {
        x1 = subgroupShuffleXor(x0, 4u);
        x3 = subgroupShuffleXor(x2, 4u);
      }
      sum += dots(x0, 0u);
      sum += dots(quadSwapX(x0), 1u);
      sum += dots(quadSwapY(x0), 2u);
      sum += dots(quadSwapDiagonal(x0), 3u);
      sum += dots(x1, 4u);
      sum += dots(quadSwapX(x1), 5u);
      sum += dots(quadSwapY(x1), 6u);
      sum += dots(quadSwapDiagonal(x1), 7u);
      sum += dots(x2, 8u);
      sum += dots(quadSwapX(x2), 9u);
      sum += dots(quadSwapY(x2), 10u);
      sum += dots(quadSwapDiagonal(x2), 11u);
      sum += dots(x3, 12u);
      sum += dots(quadSwapX(x3), 13u);
      sum += dots(quadSwapY(x3), 14u);
      sum += dots(quadSwapDiagonal(x3), 15u);
      if (PRIVATE) {
        sums[row - first] += sum;
      } else {
        if (continued) { sum += loadC(at); }
        if (inside) { storeC(at, sum); }
      }
    }
  }

  if (!inside || (!PRIVATE && !DROPOUT && (EPILOGUE == 0u || (params.flags & EPILOGUE) == 0u))) { return; }
  let aux0 = operands.w + batchOffset(params.aux, batch) + columns;
  let pre0 = results.y - results.x;
  let lastOwn = min(3u, params.n - 1u - column);
  let stream = params.streamLow + wid.z * params.streamStep;
  for (var row = first; row < end; row++) {
    let at = c0 + row * params.n;
    let auxAt = aux0 + row * params.auxRow;
    var v: vec4<f32>;
    if (PRIVATE) { v = sums[row - first]; } else { v = loadC(at); }
    if (asked(PRE)) {
      let preAt = pre0 + at;
      pre[preAt.x] = ScalarPre(v.x);
      pre[preAt.y] = ScalarPre(v.y);
      pre[preAt.z] = ScalarPre(v.z);
      pre[preAt.w] = ScalarPre(v.w);
    }
    if (asked(GELU)) { v = gelu(v); }
    var other = vec4<f32>();
    if (asked(GELU_GRAD | ADD)) { other = vec4<f32>(vec4(aux[auxAt.x], aux[auxAt.y], aux[auxAt.z], aux[auxAt.w])); }
    if (asked(GELU_GRAD)) { v *= geluGrad(other); }
    if (DROPOUT) {
      v = dropout(v, (batch * params.m + row) * params.n + column, stream);
      // A column that repeats the last one must get its value.
      v = select(v, vec4(v[lastOwn]), vec4(0u, 1u, 2u, 3u) > vec4(lastOwn));
    }
    if (asked(ADD)) { v += other; }
    storeC(at, v);
  }
}
