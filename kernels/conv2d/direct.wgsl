// The implicit matrix product of convolutions for any device. A thread computes ROWS x 4 elements of C in registers.
const WORKGROUP: u32 = 64u;
// The rows of C that a thread computes: 1, 4 or 8.
const ROWS: u32 = 4u;

// Element types in memory. Sums are f32.
alias ScalarA = f32;
alias ScalarX = f32;
alias ScalarC = f32;

// Whether depth is so long that it is added up in levels.
const LONG: bool = false;
// Elements along depth of a block of LONG sums.
const BLOCK: u32 = 32u;

alias Sum = mat4x4<f32>;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  groups: u32, rows: u32, columns: u32, depth: u32,
  splits: u32, chunk: u32, // parts of depth, and their length
  depthHeight: u32, depthWidth: u32, columnHeight: u32, columnWidth: u32, // the two inner sizes of the indices
  aOffset: u32, aGroup: u32, aRow: u32, aN: u32, aY: u32, aX: u32, // where an element of a lies
  xOffset: u32, xGroup: u32, xDepth: u32, xColumn: u32, xY: u32, xX: u32, // where an element of the image lies
  height: u32, width: u32, // of the image
  y0: i32, x0: i32, yDepth: i32, yColumn: i32, xStepDepth: i32, xStepColumn: i32, // its row and column by the indices
  cOffset: u32, cSplit: u32, cGroup: u32, cRow: u32, cN: u32, cY: u32, cX: u32, // where an element of c lies
  biased: u32,
}

@group(0) @binding(0) var<storage, read> a: array<ScalarA>; // [groups, rows, depth] by strides
@group(0) @binding(1) var<storage, read> x: array<ScalarX>; // images [., ., height, width] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [groups * rows]
@group(0) @binding(3) var<storage, read_write> c: array<ScalarC>; // [splits, groups, rows, columns] by strides
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

// An index as (n * height + i) * width + j.
struct Place { n: u32, i: u32, j: u32 }

fn placeOf(index: u32, height: u32, width: u32) -> Place {
  let line = index / width;
  return Place(line / height, line % height, index % width);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let tilesN = (params.columns + 3u) / 4u;
  let tilesM = (params.rows + ROWS - 1u) / ROWS;
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let part = thread / (tilesN * tilesM);
  let group = part / params.splits;
  if (group >= params.groups) { return; }
  let split = part % params.splits;
  let row = thread / tilesN % tilesM * ROWS;
  let column = thread % tilesN * 4u;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.depth);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands

  // Rows and columns past the last one repeat it and are not stored.
  let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
  let a0 = own.x + params.aOffset + group * params.aGroup + rows * params.aRow;
  let x0 = own.y + params.xOffset + group * params.xGroup;
  let c0 = own.w + params.cOffset + split * params.cSplit + group * params.cGroup;
  var planes: vec4<u32>;
  var top: vec4<i32>; // the row of the image for k = 0, by column
  var left: vec4<i32>;
  var stores: vec4<u32>;
  for (var s = 0u; s < 4u; s++) {
    let place = placeOf(min(column + s, params.columns - 1u), params.columnHeight, params.columnWidth);
    planes[s] = x0 + place.n * params.xColumn;
    top[s] = params.y0 + i32(place.i) * params.yColumn;
    left[s] = params.x0 + i32(place.j) * params.xStepColumn;
    stores[s] = c0 + place.n * params.cN + place.i * params.cY + place.j * params.cX;
  }

  var k = kStart;
  var at = placeOf(k, params.depthHeight, params.depthWidth);
  var sum = Sum();
  var levels: Levels;
  loop {
    let stop = select(kEnd, min(k + BLOCK, kEnd), LONG);
    for (; k < stop; k++) {
      let y = vec4<u32>(top + i32(at.i) * params.yDepth);
      let z = vec4<u32>(left + i32(at.j) * params.xStepDepth);
      let inside = (y < vec4(params.height)) & (z < vec4(params.width));
      let source = select(vec4(x0), planes + at.n * params.xDepth + y * params.xY + z * params.xX, inside);
      let right = select(vec4(0.0), vec4<f32>(vec4(x[source.x], x[source.y], x[source.z], x[source.w])), inside);
      let step = at.n * params.aN + at.i * params.aY + at.j * params.aX;
      sum[0] += f32(a[a0.x + step]) * right;
      if (ROWS > 1u) {
        sum[1] += f32(a[a0.y + step]) * right;
        sum[2] += f32(a[a0.z + step]) * right;
        sum[3] += f32(a[a0.w + step]) * right;
      }
      at.j += 1u;
      if (at.j == params.depthWidth) {
        at.j = 0u;
        at.i += 1u;
        if (at.i == params.depthHeight) {
          at.i = 0u;
          at.n += 1u;
        }
      }
    }
    if (!LONG) { break; }
    carry(&levels, &sum);
    if (k >= kEnd) { break; }
  }
  if (LONG) { sum = sumOf(levels, sum); }

  for (var r = 0u; r < min(ROWS, params.rows - row); r++) {
    var v = sum[r];
    if (params.biased != 0u && split == 0u) { v += bias[own.z + group * params.rows + row + r]; }
    for (var s = 0u; s < min(4u, params.columns - column); s++) { c[stores[s] + (row + r) * params.cRow] = ScalarC(v[s]); }
  }
}
