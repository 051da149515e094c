// Running sum along lines, one workgroup a line. Tile by tile: each thread sums ITEMS neighbours, the threads' sums are
// scanned in two levels (GROUP threads, then groups), and what came before the tile is carried along. The order of all
// additions is fixed.

alias Scalar = f32;
const WORKGROUP: u32 = 256u;
// Threads whose sums are added up by one; its square is WORKGROUP.
const GROUP: u32 = 16u;
const ITEMS: u32 = 4u;
// Sum from the end of the line instead.
const REVERSE: bool = false;

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<Scalar>;
@group(0) @binding(1) var<storage, read_write> y: array<Scalar>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> threadSums: array<Scalar, WORKGROUP>;
var<workgroup> groupSums: array<Scalar, WORKGROUP / GROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let n = params.n;
  let inner = params.inner;
  let line = wid.y * groups.x + wid.x;
  if (line >= params.outer * inner) { return; }
  let start = line / inner * n * inner + line % inner;

  var carry = Scalar();
  for (var tile = 0u; tile < n; tile += WORKGROUP * ITEMS) {
    var running: array<Scalar, ITEMS>;
    var sum = Scalar();
    for (var k = 0u; k < ITEMS; k++) {
      let j = tile + lid * ITEMS + k;
      if (j < n) { sum += x[start + select(j, n - 1u - j, REVERSE) * inner]; }
      running[k] = sum;
    }
    threadSums[lid] = sum;
    workgroupBarrier();
    if (lid < WORKGROUP / GROUP) {
      var groupSum = Scalar();
      for (var t = 0u; t < GROUP; t++) { groupSum += threadSums[lid * GROUP + t]; }
      groupSums[lid] = groupSum;
    }
    workgroupBarrier();
    var total = Scalar();
    var before = Scalar();
    for (var g = 0u; g < WORKGROUP / GROUP; g++) {
      if (g == lid / GROUP) { before = total; }
      total += groupSums[g];
    }
    for (var t = lid / GROUP * GROUP; t < lid; t++) { before += threadSums[t]; }
    before += carry;
    carry += total;
    for (var k = 0u; k < ITEMS; k++) {
      let j = tile + lid * ITEMS + k;
      if (j < n) { y[start + select(j, n - 1u - j, REVERSE) * inner] = before + running[k]; }
    }
    workgroupBarrier();
  }
}
