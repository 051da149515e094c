// y = (x - mean) rstd weight + bias, with the mean and rstd of the plane's row. A thread takes a run of one plane.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// The neighbours of a plane in one Element.
const ROW_VEC: u32 = 1u;
// The Elements of a plane that a thread takes.
const RUN: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, n: u32, // [batch, channels, n]: the planes are batch times channels
  rows: u32, planesPerRow: u32, rowStep: u32, planeStep: u32, // row r has the planes r rowStep + k planeStep
  rowsPerBatch: u32, channelsPerRow: u32, // a plane is of row (batch rowsPerBatch + channel / channelsPerRow)
  eps: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [planes, n]
@group(0) @binding(1) var<storage, read> statistics: array<vec4<f32>>; // [rows]: first element, mean minus it, rstd
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [channels]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [channels]
@group(0) @binding(4) var<storage, read_write> y: array<Element>; // [planes, n]
@group(1) @binding(0) var<uniform> params: Params;

// The row of statistics of a plane.
fn rowOf(plane: u32) -> u32 {
  return plane / params.channels * params.rowsPerBatch + plane % params.channels / params.channelsPerRow;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let n = params.n / ROW_VEC;
  let runs = (n + RUN - 1u) / RUN;
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let plane = thread / runs;
  if (plane >= params.planes) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let first = thread % runs * RUN;
  let end = min(first + RUN, n);
  let channel = plane % params.channels;
  let row = statistics[own.y / 4u + rowOf(plane)];
  let scale = row.z * weight[own.z + channel];
  let shift = bias[own.w + channel];
  let xStart = own.x / ROW_VEC + plane * n;
  let yStart = rest.x / ROW_VEC + plane * n;
  for (var i = first; i < end; i++) { y[yStart + i] = (x[xStart + i] - row.x - row.y) * scale + shift; }
}
