// Sum along the middle axis of [outer, n, inner]: a workgroup for COLUMNS outputs (or vec4 of outputs), LANES threads each,
// joined by a tree in workgroup memory.

alias Scalar = f32;
alias Input = f32;
alias Value = f32;
const WIDTH: u32 = 1;
const COLUMNS: u32 = 1;
const LANES: u32 = 256;

struct Params {
  strides: array<vec4<u32>, 1>, // from branch to branch, of each binding
  outer: u32,
  n: u32,
  inner: u32,
  chunk: u32,
  chunks: u32,
  offset: u32,
  outerStride: u32,
  nStride: u32,
  innerStride: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read_write> output: array<Value>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<Value, COLUMNS * LANES>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let group = wid.y * groups.x + wid.x;
  let columns = params.inner / WIDTH;
  let tiles = (columns + COLUMNS - 1) / COLUMNS;
  if (group >= params.outer * params.chunks * tiles) {
    return;
  }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let piece = group / tiles;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let column = (group % tiles) * COLUMNS + local.x;
  let step = params.nStride / WIDTH;
  let start = (own.x + params.offset + row * params.outerStride) / WIDTH + column * params.innerStride;

  var a = Value();
  var b = Value();
  if (column < columns) {
    var k = first + local.y;
    for (; k + LANES < last; k += 2 * LANES) {
      a += Value(input[start + k * step]);
      b += Value(input[start + (k + LANES) * step]);
    }
    if (k < last) {
      a += Value(input[start + k * step]);
    }
  }
  let slot = local.y * COLUMNS + local.x;
  sums[slot] = a + b;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local.y < half) {
      sums[slot] += sums[slot + half * COLUMNS];
    }
  }
  if (local.y == 0 && column < columns) {
    output[own.y / WIDTH + piece * columns + column] = sums[slot] * Value(Scalar(params.scale));
  }
}
