// Matrix product for GPUs: a workgroup of 16 x 16 threads computes a 64 x 64 tile of C, each thread 4 x 4 elements, from tiles
// of A and B, 16 deep, in workgroup memory. Neighbouring threads load along whichever dim of an operand is contiguous.

// Element types in memory; sums are f32.
alias ScalarA = f32;
alias ScalarB = f32;
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

@group(0) @binding(0) var<storage, read> a: array<ScalarA>;
@group(0) @binding(1) var<storage, read> b: array<ScalarB>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> aux: array<ScalarAux>;
@group(0) @binding(4) var<storage, read_write> c: array<ScalarC>; // [splits, batches, m, n]
@group(0) @binding(5) var<storage, read_write> pre: array<ScalarPre>;
@group(1) @binding(0) var<uniform> params: Params;

const DEPTH: u32 = 16u;
// vec4s from one k to the next in workgroup memory: one more than the 64 rows or columns need keeps threads off each other's
// banks.
const PITCH: u32 = 17u;

var<workgroup> tileA: array<vec4<f32>, PITCH * DEPTH>; // [k][m]
var<workgroup> tileB: array<vec4<f32>, PITCH * DEPTH>; // [k][n]

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

// Which vec4 of a tile [16, 64] a thread loads, as (k, vec4): neighbours along k if that is contiguous in memory.
fn place(thread: u32, alongK: bool) -> vec2<u32> {
  return select(vec2(thread / 16u, thread % 16u), vec2(thread % 16u, thread / 16u), alongK);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let tilesN = (params.n + 63u) / 64u;
  let tilesM = (params.m + 63u) / 64u;
  let group = wid.y * groups.x + wid.x;
  let operands = wid.z * params.strides[0]; // where this branch's begin
  let results = wid.z * params.strides[1];
  let matrix = group / (tilesN * tilesM);
  let batch = matrix / params.splits;
  if (batch >= params.batches) { return; }
  let split = matrix % params.splits;
  let firstRow = group / tilesN % tilesM * 64u;
  let firstColumn = group % tilesN * 64u;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.k);
  let a0 = operands.x + batchOffset(params.a, batch);
  let b0 = operands.y + batchOffset(params.b, batch);
  // What this thread loads of each tile, and what it computes.
  let inA = place(thread, params.aCol == 1u);
  let inB = place(thread, params.bRow == 1u);
  let x = thread % 16u;
  let y = thread / 16u;
  let rows = vec4(firstRow + 4u * inA.y) + vec4(0u, 1u, 2u, 3u);
  let columns = vec4(firstColumn + 4u * inB.y) + vec4(0u, 1u, 2u, 3u);
  let atRows = a0 + min(rows, vec4(params.m - 1u)) * params.aRow;
  let atColumns = b0 + min(columns, vec4(params.n - 1u)) * params.bCol;

  var sum0 = vec4(0.0);
  var sum1 = vec4(0.0);
  var sum2 = vec4(0.0);
  var sum3 = vec4(0.0);
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    // Rows and columns behind the last repeat it and are not stored; along k there must be zeros.
    let kA = k0 + inA.x;
    let kB = k0 + inB.x;
    var left = vec4(0.0);
    var right = vec4(0.0);
    if (kA < kEnd) {
      let at = atRows + kA * params.aCol;
      left = vec4<f32>(vec4(a[at.x], a[at.y], a[at.z], a[at.w]));
    }
    if (kB < kEnd) {
      let at = atColumns + kB * params.bRow;
      right = vec4<f32>(vec4(b[at.x], b[at.y], b[at.z], b[at.w]));
    }
    tileA[inA.x * PITCH + inA.y] = left;
    tileB[inB.x * PITCH + inB.y] = right;
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let left = tileA[k * PITCH + y];
      let right = tileB[k * PITCH + x];
      sum0 += left.x * right;
      sum1 += left.y * right;
      sum2 += left.z * right;
      sum3 += left.w * right;
    }
    workgroupBarrier();
  }

  let row = firstRow + 4u * y;
  let column = firstColumn + 4u * x;
  if (column >= params.n) { return; }
  let c0 = (split * params.batches + batch) * params.m * params.n;
  let starts = Starts(
    results.x + c0,
    results.y + c0,
    operands.z + batchOffset(params.bias, batch),
    operands.w + batchOffset(params.aux, batch),
  );
  store(row, column, starts, sum0);
  store(row + 1u, column, starts, sum1);
  store(row + 2u, column, starts, sum2);
  store(row + 3u, column, starts, sum3);
}
