// Average pooling: a thread takes a run of outputs of one row.
const WORKGROUP: u32 = 64u;
// The neighbours of a row that a thread computes.
const RUN: u32 = 1u;
alias Scalar = f32;
// Whether a window has so many elements that they are added up in levels.
const LONG: bool = false;
alias Sum = f32;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32,
  sizeY: u32, sizeX: u32, strideY: u32, strideX: u32, padY: u32, padX: u32, // of the windows
  xOffset: u32, xN: u32, xC: u32, xY: u32, xX: u32, // where an element of x lies
}

@group(0) @binding(0) var<storage, read> x: array<Scalar>; // [planes, height, width] by strides
@group(0) @binding(1) var<storage, read_write> y: array<Scalar>; // [planes, outHeight, outWidth]
@group(1) @binding(0) var<uniform> params: Params;

// The levels of a long sum: blocks of some 8 to 16 terms, then sums of 16 of the level below. So rounding hardly grows with the length.
struct Levels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum, e: Sum }

// Ends a block: adds its sum to the lowest level, and a level of 16 sums to the next one.
fn carry(levels: ptr<function, Levels>, sum: ptr<function, Sum>) {
  (*levels).blocks += 1u;
  (*levels).a += *sum;
  *sum = Sum();
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a;
  (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b;
  (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c;
  (*levels).c = Sum();
  if ((*levels).blocks % 65536u != 0u) { return; }
  (*levels).e += (*levels).d;
  (*levels).d = Sum();
}

fn sumOf(levels: Levels, rest: Sum) -> Sum {
  return levels.e + (levels.d + (levels.c + (levels.b + (levels.a + rest))));
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
  let scale = 1.0 / f32(params.sizeY * params.sizeX);
  for (var j = first; j < end; j++) {
    let left = i32(j * params.strideX) - i32(params.padX);
    let z0 = u32(max(left, 0));
    let z1 = u32(min(left + i32(params.sizeX), i32(params.width)));
    var sum = 0.0;
    var levels = Levels();
    for (var i = y0; i < y1; i++) {
      for (var z = z0; z < z1; z++) {
        sum += f32(x[x0 + i * params.xY + z * params.xX]);
        if (LONG && (z - z0) % 16u == 15u) { carry(&levels, &sum); }
      }
      if (LONG) { carry(&levels, &sum); }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    y[own.y + line * params.outWidth + j] = Scalar(sum * scale);
  }
}
