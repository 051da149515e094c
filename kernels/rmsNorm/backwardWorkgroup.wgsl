// The gradient of RMSNorm (1910.07467) with a workgroup for each row. With g = dy * weight it is
// dx = rstd * (g - x * mean(g * x) * rstd * rstd), and terms = dy * x * rstd add up over the rows to the gradient of the weight.
// The mean is a tree reduction in workgroup memory.

alias Element = f32;
alias Sum = Element;
const WORKGROUP: u32 = 256u;
// Whether a thread adds up so many terms that it sums blocks first and then their sums, which keeps rounding small.
const LONG: bool = false;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// Whether terms are wanted.
const TERMS: bool = true;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  rows: u32, n: u32, xOffset: u32, xStride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>; // [rows, n], rows xStride apart
@group(0) @binding(1) var<storage, read> weight: array<Element>; // [n]
@group(0) @binding(2) var<storage, read> rstd: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read> dy: array<Element>; // [rows, n]
@group(0) @binding(4) var<storage, read_write> dx: array<Element>; // [rows, n]
@group(0) @binding(5) var<storage, read_write> terms: array<Element>; // [rows, n]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> partial: array<f32, WORKGROUP>;

fn rowSumByTree(value: Element, local: u32) -> f32 {
  let v = vec4<f32>(value);
  // A scalar Element is spread over four lanes, so a quarter of their sum is exact.
  partial[local] = ((v.x + v.y) + (v.z + v.w)) * (f32(ROW_VEC) * 0.25);
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { partial[local] += partial[local + half]; }
  }
  workgroupBarrier();
  let sum = partial[0];
  workgroupBarrier();
  return sum;
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
  let row = wid.y * groups.x + wid.x;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let n = params.n / ROW_VEC;
  let xRow = (own.x + params.xOffset + row * params.xStride) / ROW_VEC;
  let weightAt = own.y / ROW_VEC;
  let dyRow = own.w / ROW_VEC + row * n;
  let dxRow = rest.x / ROW_VEC + row * n;
  let termsRow = rest.y / ROW_VEC + row * n;
  let scale = rstd[own.z + row];

  var product = Element(0.0);
  var levels: Levels;
  for (var j = local; j < n; j += WORKGROUP) {
    product += dy[dyRow + j] * weight[weightAt + j] * x[xRow + j];
    if (LONG && j / WORKGROUP % 8u == 7u) { carry(&levels, &product); }
  }
  if (LONG) { product = sumOf(levels, product); }
  let meanGX = rowSumByTree(product, local) / f32(params.n) * scale * scale;
  for (var j = local; j < n; j += WORKGROUP) {
    dx[dxRow + j] = scale * (dy[dyRow + j] * weight[weightAt + j] - x[xRow + j] * meanGX);
    if (TERMS) { terms[termsRow + j] = dy[dyRow + j] * (x[xRow + j] * scale); }
  }
}
