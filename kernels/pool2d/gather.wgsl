// The elements of planes that indices name: a thread takes a run of one row.
const WORKGROUP: u32 = 64u;
// The neighbours of a row that a thread computes.
const RUN: u32 = 1u;
alias Scalar = f32;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32,
  sizeY: u32, sizeX: u32, strideY: u32, strideX: u32, padY: u32, padX: u32, // of the windows
  xOffset: u32, xN: u32, xC: u32, xY: u32, xX: u32, // where an element of x lies
}

@group(0) @binding(0) var<storage, read> x: array<Scalar>; // [planes, height, width]
@group(0) @binding(1) var<storage, read> indices: array<i32>; // [planes, outHeight, outWidth]
@group(0) @binding(2) var<storage, read_write> y: array<Scalar>; // [planes, outHeight, outWidth]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let runs = (params.outWidth + RUN - 1u) / RUN;
  let line = thread / runs;
  if (line >= params.planes * params.outHeight) { return; }
  let plane = line / params.outHeight;
  let first = thread % runs * RUN;
  let end = min(first + RUN, params.outWidth);
  for (var j = first; j < end; j++) {
    let at = line * params.outWidth + j;
    y[own.z + at] = x[own.x + plane * params.height * params.width + u32(indices[own.y + at])];
  }
}
