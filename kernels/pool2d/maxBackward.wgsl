// The gradient of max pooling: a thread takes a run of elements of one row of x, each of which adds up the windows whose maximum it is.
const WORKGROUP: u32 = 64u;
// The neighbours of a row that a thread computes.
const RUN: u32 = 1u;
alias Scalar = f32;
// Whether so many windows hold an element that they are added up in levels.
const LONG: bool = false;
alias Sum = f32;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32,
  sizeY: u32, sizeX: u32, strideY: u32, strideX: u32, padY: u32, padX: u32, // of the windows
  xOffset: u32, xN: u32, xC: u32, xY: u32, xX: u32, // where an element of x lies
}

@group(0) @binding(0) var<storage, read> dy: array<Scalar>; // [planes, outHeight, outWidth]
@group(0) @binding(1) var<storage, read> indices: array<i32>; // [planes, outHeight, outWidth]
@group(0) @binding(2) var<storage, read_write> dx: array<Scalar>; // [planes, height, width]
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
  let runs = (params.width + RUN - 1u) / RUN;
  let line = thread / runs;
  if (line >= params.planes * params.height) { return; }
  let plane = line / params.height;
  let first = thread % runs * RUN;
  let end = min(first + RUN, params.width);
  // The rows of the windows that hold this row.
  let row = line % params.height + params.padY;
  let i0 = (max(row + 1u, params.sizeY) - params.sizeY + params.strideY - 1u) / params.strideY;
  let i1 = min(row / params.strideY + 1u, params.outHeight);
  for (var j = first; j < end; j++) {
    let column = j + params.padX;
    let j0 = (max(column + 1u, params.sizeX) - params.sizeX + params.strideX - 1u) / params.strideX;
    let j1 = min(column / params.strideX + 1u, params.outWidth);
    var sum = 0.0;
    var levels = Levels();
    for (var i = i0; i < i1; i++) {
      for (var k = j0; k < j1; k++) {
        let at = (plane * params.outHeight + i) * params.outWidth + k;
        let place = i32(line % params.height * params.width + j);
        if (indices[own.y + at] == place) { sum += f32(dy[own.x + at]); }
        if (LONG && (k - j0) % 16u == 15u) { carry(&levels, &sum); }
      }
      if (LONG) { carry(&levels, &sum); }
    }
    if (LONG) { sum = sumOf(levels, sum); }
    dx[own.z + line * params.width + j] = Scalar(sum);
  }
}
