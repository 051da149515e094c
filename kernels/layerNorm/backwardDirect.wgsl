// Gradient of LayerNorm with respect to x, one thread a row, no workgroup memory:
// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dy * weight, xhat = (x - mean) * rstd.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// Neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// Elements a turn of a loop takes, 1 or 2; it divides the Elements of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;

struct Params { rows: u32, n: u32, xOffset: u32, xStride: u32 }

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> weight: array<Element>;
@group(0) @binding(2) var<storage, read> center: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<Element>;
@group(0) @binding(5) var<storage, read_write> dx: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes: a quarter of their sum, exactly.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (row >= params.rows) { return; }
  let n = params.n / ROW_VEC;
  let xRow = (params.xOffset + row * params.xStride) / ROW_VEC;
  let yRow = row * n;
  let first = vec4<f32>(x[xRow]).x;
  let mean = center[row];
  let scale = rstd[row];

  var sum = Element(0.0);
  var product = Element(0.0);
  for (var j = 0u; j < n; j += UNROLL) {
    let g = dy[yRow + j] * weight[j];
    sum += g;
    product += g * (x[xRow + j] - first - mean);
    if (UNROLL == 2u) {
      let k = j + 1u;
      let h = dy[yRow + k] * weight[k];
      sum += h;
      product += h * (x[xRow + k] - first - mean);
    }
  }
  let meanG = rowSum(sum) / f32(params.n);
  let meanGX = rowSum(product) / f32(params.n) * scale * scale;
  for (var j = 0u; j < n; j += UNROLL) {
    let g = dy[yRow + j] * weight[j];
    dx[yRow + j] = scale * (g - meanG - (x[xRow + j] - first - mean) * meanGX);
    if (UNROLL == 2u) {
      let k = j + 1u;
      let h = dy[yRow + k] * weight[k];
      dx[yRow + k] = scale * (h - meanG - (x[xRow + k] - first - mean) * meanGX);
    }
  }
}
