// The statistics of rows from running ones, with a thread for each row.

const WORKGROUP: u32 = 64u;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, n: u32, // [batch, channels, n]: the planes are batch times channels
  rows: u32, planesPerRow: u32, rowStep: u32, planeStep: u32, // row r has the planes r rowStep + k planeStep
  rowsPerBatch: u32, channelsPerRow: u32, // a plane is of row (batch rowsPerBatch + channel / channelsPerRow)
  eps: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> runningMean: array<f32>; // [rows]
@group(0) @binding(1) var<storage, read> runningVariance: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read_write> statistics: array<vec4<f32>>; // [rows]: mean, 0, rstd
@group(1) @binding(0) var<uniform> params: Params;

// 1 / sqrt(variance + eps), or NaN where the variance is beyond float32, which otherwise makes the normalized row 0. The test is of
// the bits because compilers may assume that a float is finite.
fn rstdOf(variance: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(1.0 / sqrt(variance + params.eps), bitcast<f32>(nan), (bitcast<u32>(variance) & 0x7f800000u) == 0x7f800000u);
}
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rstd = rstdOf(runningVariance[own.y + row]);
  statistics[own.z / 4u + row] = vec4(runningMean[own.x + row], 0.0, rstd, 0.0);
}
