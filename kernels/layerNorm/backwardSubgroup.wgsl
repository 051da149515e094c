// The gradients of layer normalization, with xhat = (x - mean) * rstd. The first workgroups sum those of weight and bias over
// chunks of rows, dweight = sum(dy * xhat) and dbias = sum(dy). Each takes a chunk and 32 Elements of the columns; its threads
// share the rows and add up in workgroup memory. The others compute dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy *
// weight, with a workgroup for each row, by subgroup reductions, then one exchange through workgroup memory. Nothing is assumed of
// how invocations map to subgroups, nor that all subgroups are full.
enable subgroups;

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 256u;
// Whether a thread adds up so many terms of a row, or of a column, that it does so in levels.
const LONG: bool = false;
const LONG_COLUMNS: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The threads side by side along the columns, and those that share the rows of a chunk.
const COLUMNS: u32 = 32u;
const SHARES: u32 = WORKGROUP / COLUMNS;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  rows: u32, n: u32, xOffset: u32, xStride: u32, chunks: u32, weightOffset: u32,
  toBias: u32, // the distance from weightOffset to the sums of the bias, modulo 2^32
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [rows, n], rows xStride apart
@group(0) @binding(1) var<storage, read> weight: array<Element>; // [n]
@group(0) @binding(2) var<storage, read> center: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read> rstd: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read> dy: array<Element>; // [rows, n]
@group(0) @binding(5) var<storage, read_write> dx: array<Element>; // [rows, n]
// The sums of the weight [chunks, n] begin at weightOffset, and those of the bias begin toBias elements later.
@group(0) @binding(6) var<storage, read_write> sums: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

// The first elements of this branch's operands. x and sums are in numbers, the others in the elements of their bindings.
struct RowStarts { x: u32, weight: u32, center: u32, rstd: u32, dy: u32, dx: u32, sums: u32 }

fn startsOf(branch: u32) -> RowStarts {
  let own = branch * params.strides[0];
  let rest = branch * params.strides[1];
  return RowStarts(
    own.x + params.xOffset, own.y / ROW_VEC, own.z, own.w,
    rest.x / ROW_VEC, rest.y / ROW_VEC, rest.z + params.weightOffset,
  );
}

var<workgroup> partial: array<vec2<f32>, WORKGROUP>;
var<workgroup> dweights: array<Element, WORKGROUP>;
var<workgroup> dbiases: array<Element, WORKGROUP>;

fn elementSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}

fn pairSumBySubgroups(value: vec2<f32>, local: u32) -> vec2<f32> {
  let rank = subgroupExclusiveAdd(1u);
  let count = subgroupAdd(1u);
  let ofSubgroup = subgroupAdd(value);
  // Each subgroup's sum is written by another lane, so that the additions below are spread over all lanes.
  let writer = (subgroupBroadcastFirst(local) >> firstTrailingBit(count)) & (count - 1u);
  partial[local] = select(vec2<f32>(), ofSubgroup, rank == writer);
  workgroupBarrier();
  var sum = vec2<f32>();
  for (var i = rank; i < WORKGROUP; i += count) { sum += partial[i]; }
  return subgroupAdd(sum);
}

fn sumColumns(starts: RowStarts, firstColumn: u32, chunk: u32, local: u32) {
  let n = params.n / ROW_VEC;
  let column = firstColumn + local % COLUMNS;
  let perChunk = (params.rows + params.chunks - 1u) / params.chunks;
  let end = min((chunk + 1u) * perChunk, params.rows);
  var dweight = Element(0.0);
  var dbias = Element(0.0);
  var weightLevels: Levels;
  var biasLevels: Levels;
  if (column < n) {
    for (var row = chunk * perChunk + local / COLUMNS; row < end; row += SHARES) {
      let xRow = (starts.x + row * params.xStride) / ROW_VEC;
      let g = dy[starts.dy + row * n + column];
      let first = vec4<f32>(x[xRow]).x;
      dweight += g * (x[xRow + column] - first - center[starts.center + row]) * rstd[starts.rstd + row];
      dbias += g;
      if (LONG_COLUMNS && (row - chunk * perChunk) / SHARES % 8u == 7u) {
        carry(&weightLevels, &dweight);
        carry(&biasLevels, &dbias);
      }
    }
    if (LONG_COLUMNS) {
      dweight = sumOf(weightLevels, dweight);
      dbias = sumOf(biasLevels, dbias);
    }
  }
  dweights[local] = dweight;
  dbiases[local] = dbias;
  workgroupBarrier();
  if (local >= COLUMNS || column >= n) { return; }
  for (var share = 1u; share < SHARES; share++) {
    dweight += dweights[share * COLUMNS + local];
    dbias += dbiases[share * COLUMNS + local];
  }
  let to = starts.sums + chunk * params.n;
  sums[to / ROW_VEC + column] = dweight;
  sums[(to + params.toBias) / ROW_VEC + column] = dbias;
}

fn differentiateRowBySubgroups(starts: RowStarts, row: u32, local: u32) {
  if (row >= params.rows) { return; }
  let n = params.n / ROW_VEC;
  let xRow = (starts.x + row * params.xStride) / ROW_VEC;
  let dyRow = starts.dy + row * n;
  let first = vec4<f32>(x[xRow]).x;
  let mean = center[starts.center + row];
  let scale = rstd[starts.rstd + row];

  var sum = Element(0.0);
  var product = Element(0.0);
  var sumLevels: Levels;
  var productLevels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    let g = dy[dyRow + j] * weight[starts.weight + j];
    sum += g;
    product += g * (x[xRow + j] - first - mean);
    if (LONG && j / WORKGROUP % 8u == 7u) {
      carry(&sumLevels, &sum);
      carry(&productLevels, &product);
    }
  }
  if (LONG) {
    sum = sumOf(sumLevels, sum);
    product = sumOf(productLevels, product);
  }
  let means = pairSumBySubgroups(vec2(elementSum(sum), elementSum(product)), local) / f32(params.n);
  let meanGX = means.y * scale * scale;
  for (var j = local; j < n; j += WORKGROUP) {
    let g = dy[dyRow + j] * weight[starts.weight + j];
    dx[starts.dx + row * n + j] = scale * (g - means.x - (x[xRow + j] - first - mean) * meanGX);
  }
}

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
  let starts = startsOf(wid.z);
  let n = params.n / ROW_VEC;
  let group = wid.y * groups.x + wid.x;
  // Columns come first because their threads run longest.
  let columnGroups = (n + COLUMNS - 1u) / COLUMNS;
  if (group < columnGroups * params.chunks) {
    sumColumns(starts, group % columnGroups * COLUMNS, group / columnGroups, local);
  } else {
    differentiateRowBySubgroups(starts, group - columnGroups * params.chunks, local);
  }
}
