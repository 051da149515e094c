// The maximum or minimum along the middle axis of [outer, n, inner] and the index of its first occurrence. A workgroup takes COLUMNS outputs
// with LANES threads each, and a tree reduction in workgroup memory.

alias Scalar = f32;
const FLOAT: bool = true;
// Whether the minimum is sought.
const MIN: bool = false;
const COLUMNS: u32 = 1;
const LANES: u32 = 256;
// The elements that are loaded at once, and their type: four where the elements of an output are neighbours and come in fours.
const VEC: u32 = 1;
alias Element = Scalar;

struct Params {
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Element>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> values: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> indices: array<i32>; // [outer, chunks, inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> bests: array<i32, COLUMNS * LANES>; // the values, as `rank` orders them
var<workgroup> bestIndices: array<i32, COLUMNS * LANES>;

// A value's rank, with NaN last and -0 and 0 alike; for minima the order is reversed but for NaN. It is made from the bits because
// compilers may assume that there is no NaN.
fn rank(v: Scalar) -> i32 {
  let bits = bitcast<i32>(v);
  if (!FLOAT) { return select(bits, ~bits, MIN); }
  let size = bits & 0x7fffffff;
  return select(select(size, -size, (bits < 0) != MIN), 0x7fffffff, size > 0x7f800000);
}

@compute @workgroup_size(COLUMNS, LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = wid.y * groups.x + wid.x;
  let tiles = (params.inner + COLUMNS - 1) / COLUMNS;
  if (group >= params.outer * params.chunks * tiles) { return; }
  let piece = group / tiles;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let column = (group % tiles) * COLUMNS + local.x;
  // A lane past the end, or in a column past the last one, takes an element of another, which changes no maximum.
  let start = params.offset + row * params.outerStride + min(column, params.inner - 1) * params.innerStride;
  var k = min(first + local.y * VEC, last - VEC);

  var best = rank(vec4<Scalar>(input[(start + k * params.nStride) / VEC]).x);
  var bestIndex = i32(k);
  // The first Element is looked at whole where it has further numbers.
  for (k += select(0u, LANES, VEC == 1); k < last; k += LANES * VEC) {
    let four = vec4<Scalar>(input[(start + k * params.nStride) / VEC]);
    for (var s = 0u; s < VEC; s++) {
      let value = rank(four[s]);
      if (value > best) {
        best = value;
        bestIndex = i32(k + s);
      }
    }
  }
  let slot = local.y * COLUMNS + local.x;
  bests[slot] = best;
  bestIndices[slot] = bestIndex;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local.y < half) {
      let other = slot + half * COLUMNS;
      if (bests[other] > bests[slot] || (bests[other] == bests[slot] && bestIndices[other] < bestIndices[slot])) {
        bests[slot] = bests[other];
        bestIndices[slot] = bestIndices[other];
      }
    }
  }
  if (local.y == 0 && column < params.inner) {
    let at = start + u32(bestIndices[slot]) * params.nStride;
    values[piece * params.inner + column] = vec4<Scalar>(input[at / VEC])[at % VEC];
    indices[piece * params.inner + column] = bestIndices[slot];
  }
}
