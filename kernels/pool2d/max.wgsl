// Max pooling: a thread takes a run of outputs of one row.
const WORKGROUP: u32 = 64u;
// The neighbours of a row that a thread computes.
const RUN: u32 = 1u;
alias Scalar = f32;
// Whether the places of the maxima are wanted.
const INDICES: bool = true;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32,
  sizeY: u32, sizeX: u32, strideY: u32, strideX: u32, padY: u32, padX: u32, // of the windows
  xOffset: u32, xN: u32, xC: u32, xY: u32, xX: u32, // where an element of x lies
}

@group(0) @binding(0) var<storage, read> x: array<Scalar>; // [planes, height, width] by strides
@group(0) @binding(1) var<storage, read_write> y: array<Scalar>; // [planes, outHeight, outWidth]
@group(0) @binding(2) var<storage, read_write> indices: array<i32>; // [planes, outHeight, outWidth]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn scalarIsNaN(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

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
  // The part of the window that lies in the plane. Its rows and columns begin at top and left.
  let top = i32(line % params.outHeight * params.strideY) - i32(params.padY);
  let y0 = u32(max(top, 0));
  let y1 = u32(min(top + i32(params.sizeY), i32(params.height)));
  let x0 = own.x + params.xOffset + plane / params.channels * params.xN + plane % params.channels * params.xC;
  for (var j = first; j < end; j++) {
    let left = i32(j * params.strideX) - i32(params.padX);
    let z0 = u32(max(left, 0));
    let z1 = u32(min(left + i32(params.sizeX), i32(params.width)));
    var at = y0 * params.width + z0;
    var best = f32(x[x0 + y0 * params.xY + z0 * params.xX]);
    for (var i = y0; i < y1; i++) {
      for (var z = z0; z < z1; z++) {
        let v = f32(x[x0 + i * params.xY + z * params.xX]);
        if (scalarIsNaN(v) || (!scalarIsNaN(best) && v > best)) {
          best = v;
          at = i * params.width + z;
        }
      }
    }
    y[own.y + line * params.outWidth + j] = Scalar(best);
    if (INDICES) { indices[own.z + line * params.outWidth + j] = i32(at); }
  }
}
