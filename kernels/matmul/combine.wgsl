// The second step of a matrix product with a split k: adds up the partial products in order and applies the epilogue. A thread takes 4
// neighbours of a row.

// Element types in memory. Sums are f32.
alias Sum = vec4<f32>;
// The partial products that one load brings, and their type: four where rows are made of fours, else one.
const PARTIALS_VEC: u32 = 1u;
alias Partials = f32;
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

@group(0) @binding(0) var<storage, read> partials: array<Partials>; // [splits, batches, m, n]
@group(0) @binding(1) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> aux: array<ScalarAux>; // [batches, m, n] by strides, rows contiguous
@group(0) @binding(3) var<storage, read_write> c: array<ScalarC>; // [batches, m, n]
@group(0) @binding(4) var<storage, read_write> pre: array<ScalarPre>; // [batches, m, n]
@group(1) @binding(0) var<uniform> params: Params;

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

// The levels of a long sum: a adds up 16 blocks, b 16 sums of a, c 16 of b, and d the rest. So rounding hardly grows with the length.
struct BlockLevels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum }

fn join(levels: ptr<function, BlockLevels>, block: Sum) {
  (*levels).a += block;
  (*levels).blocks += 1u;
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a; (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b; (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c; (*levels).c = Sum();
}

fn levelSum(levels: BlockLevels) -> Sum {
  return levels.d + (levels.c + (levels.b + levels.a));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let quads = (params.n + 3u) / 4u;
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let batch = thread / quads / params.m;
  if (batch >= params.batches) { return; }
  let row = thread / quads % params.m;
  let column = thread % quads * 4u;
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let size = params.m * params.n;
  let branch = wid.z * params.strides[0];
  var levels: BlockLevels;
  for (var split = 0u; split < params.splits;) {
    let stop = min(split + 16u, params.splits);
    var block = vec4(0.0);
    for (; split < stop; split++) {
      let at = branch.x + (split * params.batches + batch) * size + row * params.n + columns;
      if (PARTIALS_VEC == 4u) {
        block += vec4<f32>(partials[at.x / 4u]);
      } else {
        // The vec4() and .x let this compile where the element is a vector too.
        let two = vec2(vec4<f32>(partials[at.x]).x, vec4<f32>(partials[at.y]).x);
        block += vec4(two, vec4<f32>(partials[at.z]).x, vec4<f32>(partials[at.w]).x);
      }
    }
    join(&levels, block);
  }
  let starts = Starts(
    branch.w + batch * size,
    wid.z * params.strides[1].x + batch * size,
    branch.y,
    branch.z + batchOffset(params.aux, batch),
    batch * size,
    params.streamLow + wid.z * params.streamStep,
  );
  store(row, column, starts, levelSum(levels));
}
