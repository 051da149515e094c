// The implicit matrix product of convolutions for software devices, on which a load costs as much as ten multiply-adds and a swap between
// lanes next to nothing. A lane owns 4 columns. For every 64 or 48 elements along depth it first gathers its block of the image into
// private memory, which is registers on a software device, then passes over the rows of A, each of which LANES lanes load together, a share
// each, and hand round. Between blocks C or private memory holds the sums of all rows.
enable subgroups;

// Whether subgroups may have only 4 lanes. Otherwise they have at least 8.
const NARROW: bool = true;
const LANES: u32 = select(8u, 4u, NARROW);
// Whether a block has 48 elements along depth in place of 64, since fewer of them then lie past its end.
const SHORT: bool = false;
const DEPTH: u32 = select(64u, 48u, SHORT);
// The most rows whose sums are in private memory, which is faster on SwiftShader and necessary for a float16 C. With 1, C holds the sums.
const SUMS: u32 = 64u;
const PRIVATE: bool = SUMS > 1u;
// The most rows of a workgroup.
const ROWS: u32 = 256u;
// Whether depth is so long that every 32 blocks are added up on their own.
const LONG: bool = false;
const LONG_SUMS: u32 = select(1u, SUMS, LONG);

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

var<private> block: array<vec4<f32>, DEPTH>; // [k] of this lane's columns
var<private> sums: array<vec4<f32>, SUMS>; // [row]
var<private> totals: array<vec4<f32>, LONG_SUMS>; // [row]

// An index as (n * height + i) * width + j.
struct Place { n: u32, i: u32, j: u32 }

fn placeOf(index: u32, height: u32, width: u32) -> Place {
  let line = index / width;
  return Place(line / height, line % height, index % width);
}

fn shareOfA(row: u32, offsets: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4(a[row + offsets.x], a[row + offsets.y], a[row + offsets.z], a[row + offsets.w]));
}

fn loadC(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(vec4(c[at.x], c[at.y], c[at.z], c[at.w]));
}

fn storeC(at: vec4<u32>, v: vec4<f32>) {
  c[at.x] = ScalarC(v.x);
  c[at.y] = ScalarC(v.y);
  c[at.z] = ScalarC(v.z);
  c[at.w] = ScalarC(v.w);
}

// The products of four neighbours of a row with the block's elements k to k + 3.
fn blockProducts(four: vec4<f32>, k: u32) -> vec4<f32> {
  return (four.x * block[k] + four.y * block[k + 1u]) + (four.z * block[k + 2u] + four.w * block[k + 3u]);
}

// Where the four neighbours from k on lie in a row of A.
fn offsetsOfA(k: u32, last: u32) -> vec4<u32> {
  var offsets: vec4<u32>;
  for (var s = 0u; s < 4u; s++) {
    let place = placeOf(min(k + s, last), params.depthHeight, params.depthWidth);
    offsets[s] = place.n * params.aN + place.i * params.aY + place.j * params.aX;
  }
  return offsets;
}

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tiles = (params.columns + 31u) / 32u;
  let parts = (params.rows + ROWS - 1u) / ROWS;
  let number = wid.y * groups.x + wid.x;
  let group = number / (tiles * parts * params.splits);
  if (group >= params.groups) { return; }
  let split = number / (tiles * parts) % params.splits;
  // The rows are shared evenly.
  let share = (params.rows + parts - 1u) / parts;
  let first = number / tiles % parts * share;
  let end = min(first + share, params.rows);
  let column = number % tiles * 32u + local * 4u;
  let kStart = split * params.chunk;
  let kEnd = min(kStart + params.chunk, params.depth);
  let last = kEnd - 1u;
  let member = lane % LANES;

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let a0 = own.x + params.aOffset + group * params.aGroup;
  let x0 = own.y + params.xOffset + group * params.xGroup;
  let c0 = own.w + params.cOffset + split * params.cSplit + group * params.cGroup;
  // Columns past the last one repeat it and are not stored.
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
  // Columns past the last one repeat it. A lane that has no other stores nothing.
  let inside = column < params.columns;
  let biased = params.biased != 0u && split == 0u;

  var at = placeOf(kStart, params.depthHeight, params.depthWidth);
  for (var k0 = kStart; k0 < kEnd; k0 += DEPTH) {
    for (var k = 0u; k < DEPTH; k++) {
      let y = vec4<u32>(top + i32(at.i) * params.yDepth);
      let z = vec4<u32>(left + i32(at.j) * params.xStepDepth);
      let there = (y < vec4(params.height)) & (z < vec4(params.width)) & vec4(k0 + k <= last);
      let source = select(vec4(x0), planes + at.n * params.xDepth + y * params.xY + z * params.xX, there);
      block[k] = select(vec4(0.0), vec4<f32>(vec4(x[source.x], x[source.y], x[source.z], x[source.w])), there);
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
    // This lane's share of a row. Elements past the end are 0 here and in the block, since the last one may be infinite.
    let k = k0 + 4u * member;
    let ks = vec4(k) + vec4(0u, 1u, 2u, 3u);
    let o0 = offsetsOfA(k, last);
    let o1 = offsetsOfA(k + 4u * LANES, last);
    var o2: vec4<u32>;
    var o3: vec4<u32>;
    let there0 = ks <= vec4(last);
    let there1 = ks + 4u * LANES <= vec4(last);
    let there2 = ks + 8u * LANES <= vec4(last);
    let there3 = ks + 12u * LANES <= vec4(last);
    if (NARROW) {
      o2 = offsetsOfA(k + 8u * LANES, last);
      if (!SHORT) { o3 = offsetsOfA(k + 12u * LANES, last); }
    }
    let continued = k0 > kStart;
    for (var row = first; row < end; row++) {
      let rowA = a0 + row * params.aRow;
      let x0 = select(vec4(0.0), shareOfA(rowA, o0), there0);
      let x1 = select(vec4(0.0), shareOfA(rowA, o1), there1);
      var sum = blockProducts(subgroupBroadcast(x0, 0u), 0u);
      sum += blockProducts(subgroupBroadcast(x0, 1u), 4u);
      sum += blockProducts(subgroupBroadcast(x0, 2u), 8u);
      sum += blockProducts(subgroupBroadcast(x0, 3u), 12u);
      if (NARROW) {
        let x2 = select(vec4(0.0), shareOfA(rowA, o2), there2);
        sum += blockProducts(subgroupBroadcast(x1, 0u), 16u);
        sum += blockProducts(subgroupBroadcast(x1, 1u), 20u);
        sum += blockProducts(subgroupBroadcast(x1, 2u), 24u);
        sum += blockProducts(subgroupBroadcast(x1, 3u), 28u);
        sum += blockProducts(subgroupBroadcast(x2, 0u), 32u);
        sum += blockProducts(subgroupBroadcast(x2, 1u), 36u);
        sum += blockProducts(subgroupBroadcast(x2, 2u), 40u);
        sum += blockProducts(subgroupBroadcast(x2, 3u), 44u);
        if (!SHORT) {
          let x3 = select(vec4(0.0), shareOfA(rowA, o3), there3);
          sum += blockProducts(subgroupBroadcast(x3, 0u), 48u);
          sum += blockProducts(subgroupBroadcast(x3, 1u), 52u);
          sum += blockProducts(subgroupBroadcast(x3, 2u), 56u);
          sum += blockProducts(subgroupBroadcast(x3, 3u), 60u);
        }
      } else {
        sum += blockProducts(subgroupBroadcast(x0, 4u), 16u);
        sum += blockProducts(subgroupBroadcast(x0, 5u), 20u);
        sum += blockProducts(subgroupBroadcast(x0, 6u), 24u);
        sum += blockProducts(subgroupBroadcast(x0, 7u), 28u);
        sum += blockProducts(subgroupBroadcast(x1, 0u), 32u);
        sum += blockProducts(subgroupBroadcast(x1, 1u), 36u);
        sum += blockProducts(subgroupBroadcast(x1, 2u), 40u);
        sum += blockProducts(subgroupBroadcast(x1, 3u), 44u);
        if (!SHORT) {
          sum += blockProducts(subgroupBroadcast(x1, 4u), 48u);
          sum += blockProducts(subgroupBroadcast(x1, 5u), 52u);
          sum += blockProducts(subgroupBroadcast(x1, 6u), 56u);
          sum += blockProducts(subgroupBroadcast(x1, 7u), 60u);
        }
      }
      if (!continued) {
        if (biased) { sum += bias[own.z + group * params.rows + row]; }
      } else if (PRIVATE) {
        sum += sums[row - first];
      } else {
        sum += loadC(stores + row * params.cRow);
      }
      if (!PRIVATE) {
        if (inside) { storeC(stores + row * params.cRow, sum); }
      } else if (LONG) {
        // Every 32 blocks are added up on their own.
        let blocks = (k0 - kStart) / DEPTH;
        if (blocks % 32u == 31u) {
          if (blocks == 31u) { totals[row - first] = sum; } else { totals[row - first] += sum; }
          sum = vec4<f32>();
        }
        sums[row - first] = sum;
      } else {
        sums[row - first] = sum;
      }
    }
  }

  if (!inside || (!PRIVATE && kStart < kEnd)) { return; }
  for (var row = first; row < end; row++) {
    var v = vec4<f32>();
    if (PRIVATE && kStart < kEnd) { v = sums[row - first]; }
    if (LONG && kEnd - kStart > 31u * DEPTH) { v += totals[row - first]; }
    storeC(stores + row * params.cRow, v);
  }
}
