// Gradient of LayerNorm with respect to x, one workgroup a row: subgroup reductions, then one exchange through workgroup
// memory. Nothing is assumed of how invocations map to subgroups, nor that all subgroups are full.
// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dy * weight, xhat = (x - mean) * rstd.
enable subgroups;

alias Element = f32;
const WORKGROUP: u32 = 256u;
// Neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  rows: u32,
  n: u32,
  xOffset: u32,
  xStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> weight: array<Element>;
@group(0) @binding(2) var<storage, read> center: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<Element>;
@group(0) @binding(5) var<storage, read_write> dx: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec2<f32>, WORKGROUP>;

fn elementSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes: a quarter of their sum, exactly.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}

fn workgroupSum(value: vec2<f32>, lid: u32) -> vec2<f32> {
  let rank = subgroupExclusiveAdd(1u);
  let count = subgroupAdd(1u);
  let ofSubgroup = subgroupAdd(value);
  sums[lid] = select(vec2<f32>(), ofSubgroup, rank == 0u);
  workgroupBarrier();
  var sum = vec2<f32>();
  for (var i = rank; i < WORKGROUP; i += count) { sum += sums[i]; }
  return subgroupAdd(sum);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let row = wid.y * groups.x + wid.x;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let rest = wid.z * params.strides[1];
  let n = params.n / ROW_VEC;
  let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
  let dyRow = rest.x / ROW_VEC + row * n;
  let dxRow = rest.y / ROW_VEC + row * n;
  let weightAt = own.y / ROW_VEC;
  let first = vec4<f32>(x[xRow]).x;
  let mean = center[own.z + row];
  let scale = rstd[own.w + row];

  var sum = Element(0.0);
  var product = Element(0.0);
  for (var j = lid; j < n; j += WORKGROUP) {
    let g = dy[dyRow + j] * weight[weightAt + j];
    sum += g;
    product += g * (x[xRow + j] - first - mean);
  }
  let means = workgroupSum(vec2(elementSum(sum), elementSum(product)), lid) / f32(params.n);
  let meanGX = means.y * scale * scale;
  for (var j = lid; j < n; j += WORKGROUP) {
    let g = dy[dyRow + j] * weight[weightAt + j];
    dx[dxRow + j] = scale * (g - means.x - (x[xRow + j] - first - mean) * meanGX);
  }
}
