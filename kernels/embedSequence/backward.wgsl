// The gradients of `embedSequence` from dy [images, T + 1, D]: that of the tokens is dy without its first rows, that of the positions the sum
// over all images, and that of the shared first row is the first row of this sum. A thread has one place of a sequence.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// Whether a thread adds up so many images that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The images of a block.
const BLOCK: u32 = 16u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  images: u32, T: u32, D: u32,
  firstOffset: u32,
  toPositions: u32, // the distance from firstOffset to the gradient of the positions, modulo 2^32
}

@group(0) @binding(0) var<storage, read> dy: array<Element>; // [images, T + 1, D]
@group(0) @binding(1) var<storage, read_write> dtokens: array<Element>; // [images, T, D]
// The gradient of the first row [D] begins at firstOffset, and that of the positions [T + 1, D] begins toPositions elements later.
@group(0) @binding(2) var<storage, read_write> sums: array<Element>;
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
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let width = params.D / ROW_VEC;
  let size = (params.T + 1u) * width;
  let place = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (place >= size) { return; }
  let inFirst = place < width;
  let gradient = own.x / ROW_VEC + place;
  let token = own.y / ROW_VEC + place - width;

  var sum = Sum(0.0);
  var levels = Levels();
  var image = 0u;
  while (image < params.images) {
    let stop = select(params.images, min(image + BLOCK, params.images), LONG);
    for (; image < stop; image++) {
      let g = dy[gradient + image * size];
      sum += g;
      if (!inFirst) { dtokens[token + image * (size - width)] = g; }
    }
    if (LONG) { carry(&levels, &sum); }
  }
  if (LONG) { sum = sumOf(levels, sum); }
  let to = own.z + params.firstOffset;
  if (inFirst) { sums[to / ROW_VEC + place] = sum; }
  sums[(to + params.toPositions) / ROW_VEC + place] = sum;
}
