// Gradients of LayerNorm's weight and bias over chunks of rows: dweight = sum(dy * xhat), dbias = sum(dy). One workgroup a
// chunk and 32 Elements of the columns; its 8 rows of threads share the rows of the chunk and add up in workgroup memory.

alias Element = f32;
const COLUMNS: u32 = 32u;
const SHARES: u32 = 8u;
// Neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  rows: u32,
  n: u32,
  xOffset: u32,
  xStride: u32,
  chunks: u32,
  weightOffset: u32,
  toBias: u32, // from weightOffset on, wrapping
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> center: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<Element>;
// [chunks, n] at weightOffset, and again toBias elements on.
@group(0) @binding(4) var<storage, read_write> sums: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> dweights: array<array<Element, COLUMNS>, SHARES>;
var<workgroup> dbiases: array<array<Element, COLUMNS>, SHARES>;

@compute @workgroup_size(COLUMNS, SHARES)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let rest = wid.z * params.strides[1];
  let n = params.n / ROW_VEC;
  let columnGroups = (n + COLUMNS - 1u) / COLUMNS;
  let group = wid.y * groups.x + wid.x;
  let chunk = group / columnGroups;
  if (chunk >= params.chunks) { return; }
  let column = group % columnGroups * COLUMNS + local.x;
  let perChunk = (params.rows + params.chunks - 1u) / params.chunks;
  let start = min(chunk * perChunk, params.rows);
  let end = min(start + perChunk, params.rows);

  var dweight = Element(0.0);
  var dbias = Element(0.0);
  if (column < n) {
    for (var row = start + local.y; row < end; row += SHARES) {
      let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
      let g = dy[own.w / ROW_VEC + row * n + column];
      let first = vec4<f32>(x[xRow]).x;
      dweight += g * (x[xRow + column] - first - center[own.y + row]) * rstd[own.z + row];
      dbias += g;
    }
  }
  dweights[local.y][local.x] = dweight;
  dbiases[local.y][local.x] = dbias;
  workgroupBarrier();
  if (local.y != 0u || column >= n) { return; }
  for (var share = 1u; share < SHARES; share++) {
    dweight += dweights[share][local.x];
    dbias += dbiases[share][local.x];
  }
  let to = rest.x + params.weightOffset;
  sums[to / ROW_VEC + chunk * n + column] = dweight;
  sums[(to + params.toBias) / ROW_VEC + chunk * n + column] = dbias;
}
