// Gradient of softmax or logSoftmax from its output, one workgroup a line, a tree reduction in workgroup memory.

alias Element = f32;
const WORKGROUP: u32 = 256u;
// Neighbours of a line in one Element.
const ROW_VEC: u32 = 1u;
const LOG: bool = false;

struct Params {
  strides: array<vec4<u32>, 1>, // from branch to branch, of each binding
  outer: u32,
  n: u32,
  inner: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Element>;
@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read_write> dx: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

fn workgroupSum(value: Element, lid: u32) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes: a quarter of their sum, exactly.
  partial[lid] = ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lid < half) { partial[lid] += partial[lid + half]; }
  }
  workgroupBarrier();
  return partial[0];
}

// sum, or the output where that is NaN, as it then is all along the line: e^NaN is not NaN on every driver.
fn spoiled(sum: f32, output: f32) -> f32 {
  return select(sum, output, (bitcast<u32>(output) & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let n = params.n / ROW_VEC;
  let inner = params.inner;
  let line = wid.y * groups.x + wid.x;
  if (line >= params.outer * inner) { return; }
  let own = wid.z * params.strides[0] / ROW_VEC; // where this branch's operands begin
  let start = line / inner * n * inner + line % inner;

  var threadSum = Element(0.0);
  for (var j = lid; j < n; j += WORKGROUP) {
    let i = start + j * inner;
    if (LOG) { threadSum += dy[own.y + i]; } else { threadSum += y[own.x + i] * dy[own.y + i]; }
  }
  let sum = spoiled(workgroupSum(threadSum, lid), vec4<f32>(y[own.x + start]).x);
  for (var j = lid; j < n; j += WORKGROUP) {
    let i = start + j * inner;
    if (LOG) { dx[own.z + i] = dy[own.y + i] - exp(y[own.x + i]) * sum; } else { dx[own.z + i] = y[own.x + i] * (dy[own.y + i] - sum); }
  }
}
