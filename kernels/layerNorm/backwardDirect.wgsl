// The gradients of layer normalization, with xhat = (x - mean) * rstd. The first workgroups sum those of weight and bias over chunks of
// rows, dweight = sum(dy * xhat) and dbias = sum(dy), with a thread for each Element of the columns and each chunk. The others compute
// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * weight, with a thread for each row.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// Whether a thread adds up so many terms of a row, or of a column, that it does so in levels.
const LONG: bool = false;
const LONG_COLUMNS: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// Whether there are so many blocks that their sums must be added up in levels.
const LEVELS: bool = false;
// Elements of a block of LONG sums.
const BLOCK: u32 = select(48u, 16u, LEVELS) * UNROLL;
// The rows of a block of a column.
const ROW_BLOCK: u32 = 32u;

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

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}

fn sumColumn(starts: RowStarts, column: u32, chunk: u32) {
  let n = params.n / ROW_VEC;
  if (column >= n) { return; }
  let perChunk = (params.rows + params.chunks - 1u) / params.chunks;
  let end = min((chunk + 1u) * perChunk, params.rows);
  var dweight = Element(0.0);
  var dbias = Element(0.0);
  var weightLevels: Levels;
  var biasLevels: Levels;
  var row = min(chunk * perChunk, params.rows);
  while (row < end) {
    // Sums of 16 blocks are added up, so that rounding hardly grows with the number of rows.
    let stop = min(row + 16u * ROW_BLOCK, end);
    var productsOfBlocks = Element(0.0);
    var sumOfBlocks = Element(0.0);
    while (row < stop) {
      let blockEnd = min(row + ROW_BLOCK, stop);
      var products = Element(0.0);
      var sum = Element(0.0);
      for (; row < blockEnd; row++) {
        let xRow = (starts.x + row * params.xStride) / ROW_VEC;
        let g = dy[starts.dy + row * n + column];
        let first = vec4<f32>(x[xRow]).x;
        products += g * (x[xRow + column] - first - center[starts.center + row]) * rstd[starts.rstd + row];
        sum += g;
      }
      productsOfBlocks += products;
      sumOfBlocks += sum;
    }
    dweight += productsOfBlocks;
    dbias += sumOfBlocks;
    if (LONG_COLUMNS) {
      carry(&weightLevels, &dweight);
      carry(&biasLevels, &dbias);
    }
  }
  if (LONG_COLUMNS) {
    dweight = sumOf(weightLevels, dweight);
    dbias = sumOf(biasLevels, dbias);
  }
  let to = starts.sums + chunk * params.n;
  sums[to / ROW_VEC + column] = dweight;
  sums[(to + params.toBias) / ROW_VEC + column] = dbias;
}

fn differentiateOwnRow(starts: RowStarts, row: u32) {
  if (row >= params.rows) { return; }
  let n = params.n / ROW_VEC;
  let xRow = (starts.x + row * params.xStride) / ROW_VEC;
  let dyRow = starts.dy + row * n;
  let dxRow = starts.dx + row * n;
  let first = vec4<f32>(x[xRow]).x;
  let mean = center[starts.center + row];
  let scale = rstd[starts.rstd + row];

  var sum = Element(0.0);
  var product = Element(0.0);
  var sumLevels: Levels;
  var productLevels: Levels;
  var i = 0u;
  loop {
    let stop = select(n, min(i + BLOCK, n), LONG);
    for (; i < stop; i += UNROLL) {
      let g = dy[dyRow + i] * weight[starts.weight + i];
      var partSum = g;
      var partProduct = g * (x[xRow + i] - first - mean);
      if (UNROLL == 2u) {
        let k = i + 1u;
        let h = dy[dyRow + k] * weight[starts.weight + k];
        partSum += h;
        partProduct += h * (x[xRow + k] - first - mean);
      }
      sum += partSum;
      product += partProduct;
    }
    if (!LONG) { break; }
    if (LEVELS) {
      carry(&sumLevels, &sum);
      carry(&productLevels, &product);
    } else {
      sumLevels.a += sum;
      productLevels.a += product;
      sum = Sum();
      product = Sum();
    }
    if (i >= n) { break; }
  }
  if (LONG) {
    sum = sumOf(sumLevels, sum);
    product = sumOf(productLevels, product);
  }
  let meanG = rowSum(sum) / f32(params.n);
  let meanGX = rowSum(product) / f32(params.n) * scale * scale;
  for (var j = 0u; j < n; j += UNROLL) {
    let g = dy[dyRow + j] * weight[starts.weight + j];
    dx[dxRow + j] = scale * (g - meanG - (x[xRow + j] - first - mean) * meanGX);
    if (UNROLL == 2u) {
      let k = j + 1u;
      let h = dy[dyRow + k] * weight[starts.weight + k];
      dx[dxRow + k] = scale * (h - meanG - (x[xRow + k] - first - mean) * meanGX);
    }
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
  let columnGroups = (n + WORKGROUP - 1u) / WORKGROUP;
  if (group < columnGroups * params.chunks) {
    sumColumn(starts, group % columnGroups * WORKGROUP + local, group / columnGroups);
  } else {
    differentiateOwnRow(starts, (group - columnGroups * params.chunks) * WORKGROUP + local);
  }
}
