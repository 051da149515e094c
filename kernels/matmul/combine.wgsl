// The second step of a matrix product whose k was split: adds the partial products up in order and does the epilogue. A
// thread takes 4 neighbours of a row.

// Element types in memory; sums are f32.
alias ScalarAux = f32;
alias ScalarC = f32;
alias ScalarPre = f32;

const BIAS: u32 = 1u;
const PRE: u32 = 2u;
const GELU: u32 = 4u;
const SLOPE: u32 = 8u;
const ADD: u32 = 16u;
const ACCUMULATE: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  a: vec4<u32>, // offset, then strides of three batch dims
  b: vec4<u32>,
  bias: vec4<u32>,
  aux: vec4<u32>,
  m: u32,
  n: u32,
  k: u32,
  batches: u32,
  batch1: u32, // sizes of the second and third batch dim
  batch2: u32,
  aRow: u32,
  aCol: u32,
  bRow: u32,
  bCol: u32,
  auxRow: u32,
  rows: u32,
  splits: u32,
  chunk: u32, // of k in a split, a multiple of 64 unless there is one split
  flags: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>; // [splits, batches, m, n]
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> aux: array<ScalarAux>;
@group(0) @binding(3) var<storage, read_write> c: array<ScalarC>; // [batches, m, n]
@group(0) @binding(4) var<storage, read_write> pre: array<ScalarPre>;
@group(1) @binding(0) var<uniform> params: Params;

fn batchOffset(view: vec4<u32>, batch: u32) -> u32 {
  let outer = batch / params.batch2;
  return view.x + outer / params.batch1 * view.y + outer % params.batch1 * view.z + batch % params.batch2 * view.w;
}

// As in elementwise/unary.wgsl and unaryBackward.wgsl.
fn tail(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.23334524 * x);
  return t * (0.093179024 + t * (0.0914762 + t * (0.10062246 + t * (0.023576944 + t * (0.20431123
    + t * (-0.1756399 + t * (0.23015568 + t * -0.06768164)))))));
}

fn gelu(v: vec4<f32>) -> vec4<f32> {
  let x = min(abs(v), vec4(14.0));
  let q = tail(x) * exp(-0.5 * x * x);
  return v * select(q, 1.0 - q, v >= vec4(0.0));
}

fn geluSlope(v: vec4<f32>) -> vec4<f32> {
  let x = min(abs(v), vec4(14.0));
  let e = exp(-0.5 * x * x);
  let q = tail(x) * e;
  return select(q, 1.0 - q, v >= vec4(0.0)) + 0.39894228 * sign(v) * x * e;
}

// Where row 0 of the result begins, and what the epilogue adds.
struct Starts { c: u32, pre: u32, bias: u32, aux: u32 }

// `sum` is row `row`, columns `column` to `column + 3`, of the product.
fn store(row: u32, column: u32, starts: Starts, sum: vec4<f32>) {
  if (row >= params.m) { return; }
  let flags = params.flags;
  var v = sum * params.scale;
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let place = row * params.n + columns;
  let at = starts.c + place;
  if ((flags & BIAS) != 0u) {
    let start = starts.bias + columns;
    v += vec4(bias[start.x], bias[start.y], bias[start.z], bias[start.w]);
  }
  if ((flags & ACCUMULATE) != 0u) { v += vec4<f32>(vec4(c[at.x], c[at.y], c[at.z], c[at.w])); }
  if ((flags & PRE) != 0u) {
    for (var s = 0u; s < min(4u, params.n - column); s++) { pre[starts.pre + place[s]] = ScalarPre(v[s]); }
  }
  if ((flags & GELU) != 0u) { v = gelu(v); }
  if ((flags & (SLOPE | ADD)) != 0u) {
    let start = starts.aux + row * params.auxRow + columns;
    let other = vec4<f32>(vec4(aux[start.x], aux[start.y], aux[start.z], aux[start.w]));
    v = select(v + other, v * geluSlope(other), (flags & SLOPE) != 0u);
  }
  for (var s = 0u; s < min(4u, params.n - column); s++) { c[at[s]] = ScalarC(v[s]); }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let quads = (params.n + 3u) / 4u;
  let thread = (wid.y * groups.x + wid.x) * 64u + lane;
  let batch = thread / quads / params.m;
  if (batch >= params.batches) { return; }
  let row = thread / quads % params.m;
  let column = thread % quads * 4u;
  let columns = min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
  let size = params.m * params.n;
  let branch = wid.z * params.strides[0];
  var sum = vec4(0.0);
  for (var split = 0u; split < params.splits; split++) {
    let at = branch.x + (split * params.batches + batch) * size + row * params.n + columns;
    sum += vec4(partials[at.x], partials[at.y], partials[at.z], partials[at.w]);
  }
  let starts = Starts(
    branch.w + batch * size,
    wid.z * params.strides[1].x + batch * size,
    branch.y + batchOffset(params.bias, batch),
    branch.z + batchOffset(params.aux, batch),
  );
  store(row, column, starts, sum);
}
