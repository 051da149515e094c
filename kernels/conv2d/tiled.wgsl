// The implicit matrix product of convolutions for GPUs. A workgroup of 16 x 16 threads computes 64 x 64 elements of C from tiles of A and of
// the image in workgroup memory, each thread 4 x 4. A thread loads 4 rows of A and 4 columns of the image at one k each, the next ones while
// the last ones are multiplied.

const DEPTH: u32 = 16u;
const TILE: u32 = 64u;
// Whether neighbours in the image are neighbours along k, as for the gradient of weight, or along the columns.
const ALONG_K: bool = false;
// Whether depth is so long that sums of 48 products are added up in levels.
const LONG: bool = false;
alias Sum = mat4x4<f32>;
// Element types in memory. Sums are f32.
alias ScalarA = f32;
alias ScalarX = f32;
alias ScalarC = f32;

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

// The vec4s from one k to the next, padded by one to keep threads off each other's banks.
const PITCH: u32 = TILE / 4u + 1u;

var<workgroup> tileA: array<vec4<f32>, PITCH * DEPTH>; // [k][row]
var<workgroup> tileX: array<vec4<f32>, PITCH * DEPTH>; // [k][column]

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

// Moves an index on by another one, below height and width in its inner sizes.
fn movedBy(place: Place, step: Place) -> Place {
  var moved = Place(place.n + step.n, place.i + step.i, place.j + step.j);
  if (moved.j >= params.depthWidth) {
    moved.j -= params.depthWidth;
    moved.i += 1u;
  }
  if (moved.i >= params.depthHeight) {
    moved.i -= params.depthHeight;
    moved.n += 1u;
  }
  return moved;
}

// Where four columns of the image begin: their planes, and their rows and columns for k = 0.
struct Columns { planes: vec4<u32>, top: vec4<i32>, left: vec4<i32> }

fn columnsOf(column: u32, x0: u32) -> Columns {
  var columns: Columns;
  for (var s = 0u; s < 4u; s++) {
    let place = placeOf(min(column + s, params.columns - 1u), params.columnHeight, params.columnWidth);
    columns.planes[s] = x0 + place.n * params.xColumn;
    columns.top[s] = params.y0 + i32(place.i) * params.yColumn;
    columns.left[s] = params.x0 + i32(place.j) * params.xStepColumn;
  }
  return columns;
}

fn loadColumns(columns: Columns, at: Place, there: bool) -> vec4<f32> {
  let y = vec4<u32>(columns.top + i32(at.i) * params.yDepth);
  let z = vec4<u32>(columns.left + i32(at.j) * params.xStepDepth);
  let inside = (y < vec4(params.height)) & (z < vec4(params.width)) & vec4(there);
  let source = select(columns.planes, columns.planes + at.n * params.xDepth + y * params.xY + z * params.xX, inside);
  return select(vec4(0.0), vec4<f32>(vec4(x[source.x], x[source.y], x[source.z], x[source.w])), inside);
}

fn loadRows(rows: vec4<u32>, at: Place, there: bool) -> vec4<f32> {
  let source = rows + select(0u, at.n * params.aN + at.i * params.aY + at.j * params.aX, there);
  return select(vec4(0.0), vec4<f32>(vec4(a[source.x], a[source.y], a[source.z], a[source.w])), there);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let tilesN = (params.columns + TILE - 1u) / TILE;
  let tilesM = (params.rows + TILE - 1u) / TILE;
  let number = wid.y * groups.x + wid.x;
  let part = number / (tilesN * tilesM);
  let group = part / params.splits;
  if (group >= params.groups) { return; }
  let split = part % params.splits;
  let firstRow = number / tilesN % tilesM * TILE;
  let firstColumn = number % tilesN * TILE;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.depth);
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let x0 = own.y + params.xOffset + group * params.xGroup;
  let c0 = own.w + params.cOffset + split * params.cSplit + group * params.cGroup;
  let low = local % 16u;
  let high = local / 16u;

  // Rows and columns past the last one repeat it and are not stored.
  let rows = min(vec4(firstRow + 4u * high) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
  let rowsA = own.x + params.aOffset + group * params.aGroup + rows * params.aRow;
  let kX = select(high, low, ALONG_K);
  let columnX = select(low, high, ALONG_K);
  let columns = columnsOf(firstColumn + 4u * columnX, x0);
  let step = placeOf(DEPTH, params.depthHeight, params.depthWidth);
  var placeA = placeOf(kStart + low, params.depthHeight, params.depthWidth);
  var placeX = placeOf(kStart + kX, params.depthHeight, params.depthWidth);
  var nextA = loadRows(rowsA, placeA, kStart + low < kEnd);
  var nextX = loadColumns(columns, placeX, kStart + kX < kEnd);

  var sums = Sum();
  // Sums of 48 products are added up on their own, which keeps rounding small.
  var totals = Sum();
  var levels: Levels;
  var tiles = 0u;
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    tileA[low * PITCH + high] = nextA;
    tileX[kX * PITCH + columnX] = nextX;
    workgroupBarrier();
    if (k0 + DEPTH < kEnd) {
      placeA = movedBy(placeA, step);
      placeX = movedBy(placeX, step);
      nextA = loadRows(rowsA, placeA, k0 + DEPTH + low < kEnd);
      nextX = loadColumns(columns, placeX, k0 + DEPTH + kX < kEnd);
    }
    for (var k = 0u; k < DEPTH; k++) {
      let left = tileA[k * PITCH + high];
      let right = tileX[k * PITCH + low];
      sums[0] += left.x * right;
      sums[1] += left.y * right;
      sums[2] += left.z * right;
      sums[3] += left.w * right;
    }
    tiles += 1u;
    if (tiles == 3u) {
      tiles = 0u;
      if (LONG) {
        carry(&levels, &sums);
      } else {
        totals += sums;
        sums = Sum();
      }
    }
    workgroupBarrier();
  }

  if (LONG) {
    sums = sumOf(levels, sums);
  } else {
    sums += totals;
  }
  for (var s = 0u; s < 4u; s++) {
    let column = firstColumn + 4u * low + s;
    if (column >= params.columns) { break; }
    let place = placeOf(column, params.columnHeight, params.columnWidth);
    let at = c0 + place.n * params.cN + place.i * params.cY + place.j * params.cX;
    for (var r = 0u; r < 4u; r++) {
      let row = firstRow + 4u * high + r;
      if (row >= params.rows) { break; }
      var v = sums[r][s];
      if (params.biased != 0u && split == 0u) { v += bias[own.z + group * params.rows + row]; }
      c[at + row * params.cRow] = ScalarC(v);
    }
  }
}
