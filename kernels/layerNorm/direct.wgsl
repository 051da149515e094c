// LayerNorm, one thread a row, no workgroup memory. All sums are taken of x - x[first of the row]: a large common mean would
// eat the digits of the differences, and the mean itself, rounded to f32, would be too coarse to subtract.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// Neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// Elements a turn of a loop takes, 1 or 2; it divides the Elements of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  rows: u32,
  n: u32,
  xOffset: u32,
  xStride: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> weight: array<Element>;
@group(0) @binding(2) var<storage, read> bias: array<Element>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;
// Of each row: the mean minus the first element, and 1 / sqrt(variance + eps) or NaN.
@group(0) @binding(4) var<storage, read_write> center: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes: a quarter of their sum, exactly.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}

// 1 / sqrt(variance + eps), or NaN where the variance is beyond float32: the row would become the bias. By the bits, because compilers
// may assume that a float is finite.
fn rstdOf(variance: f32) -> f32 {
  var nan = 0x7fc00000u; // a variable, because no constant expression may be NaN
  return select(1.0 / sqrt(variance + params.eps), bitcast<f32>(nan), (bitcast<u32>(variance) & 0x7f800000u) == 0x7f800000u);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let rest = wid.z * params.strides[1];
  let n = params.n / ROW_VEC;
  let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
  let yRow = own.w / ROW_VEC + row * n;
  let weightAt = own.y / ROW_VEC;
  let biasAt = own.z / ROW_VEC;
  let first = vec4<f32>(x[xRow]).x;

  var sum = Element(0.0);
  for (var j = 0u; j < n; j += UNROLL) {
    sum += x[xRow + j] - first;
    if (UNROLL == 2u) { sum += x[xRow + j + 1u] - first; }
  }
  let mean = rowSum(sum) / f32(params.n);
  var squares = Element(0.0);
  for (var j = 0u; j < n; j += UNROLL) {
    let d = x[xRow + j] - first - mean;
    squares += d * d;
    if (UNROLL == 2u) {
      let e = x[xRow + j + 1u] - first - mean;
      squares += e * e;
    }
  }
  let scale = rstdOf(rowSum(squares) / f32(params.n));
  for (var j = 0u; j < n; j += UNROLL) {
    y[yRow + j] = (x[xRow + j] - first - mean) * scale * weight[weightAt + j] + bias[biasAt + j];
    if (UNROLL == 2u) {
      let k = j + 1u;
      y[yRow + k] = (x[xRow + k] - first - mean) * scale * weight[weightAt + k] + bias[biasAt + k];
    }
  }
  center[rest.x + row] = mean;
  rstd[rest.y + row] = scale;
}
