// The gradients of weight and bias are added up from these: the sums of dy and of dy times the normalized x over each plane, with a thread for
// each plane.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 64u;
// The neighbours of a plane in one Element.
const ROW_VEC: u32 = 1u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  planes: u32, channels: u32, n: u32, // [batch, channels, n]: the planes are batch times channels
  rows: u32, planesPerRow: u32, rowStep: u32, planeStep: u32, // row r has the planes r rowStep + k planeStep
  rowsPerBatch: u32, channelsPerRow: u32, // a plane is of row (batch rowsPerBatch + channel / channelsPerRow)
  eps: f32, momentum: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [planes, n]
@group(0) @binding(1) var<storage, read> statistics: array<vec4<f32>>; // [rows]: first element, mean minus it, rstd
@group(0) @binding(2) var<storage, read> dy: array<Element>; // [planes, n]
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>; // [planes]
@group(1) @binding(0) var<uniform> params: Params;

fn rowSum(value: Element) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  return ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
}
// The row of statistics of a plane.
fn rowOf(plane: u32) -> u32 {
  return plane / params.channels * params.rowsPerBatch + plane % params.channels / params.channelsPerRow;
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
  let plane = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (plane >= params.planes) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let n = params.n / ROW_VEC;
  let xStart = own.x / ROW_VEC + plane * n;
  let dyStart = own.z / ROW_VEC + plane * n;
  let row = statistics[own.y / 4u + rowOf(plane)];

  var sum = Element(0.0);
  var products = Element(0.0);
  var sumLevels: Levels;
  var productLevels: Levels;
  for (var i = 0u; i < n; i += 1u) {
    let gradient = dy[dyStart + i];
    sum += gradient;
    products += gradient * (x[xStart + i] - row.x - row.y);
    if (LONG && i % 16u == 15u) { carry(&sumLevels, &sum); carry(&productLevels, &products); }
  }
  if (LONG) {
    sum = sumOf(sumLevels, sum);
    products = sumOf(productLevels, products);
  }
  let total = vec2(rowSum(sum), rowSum(products) * row.z);
  sums[own.w / 2u + plane] = total;
}
