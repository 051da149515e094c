// The maximum or minimum along the middle axis of [outer, n, inner] and the index of its first occurrence. A thread takes one output, or four
// neighbours in memory (Value = vec4). The loop keeps only which four elements of the axis hold the maximum; which of them it is, is
// looked up at the end.

alias Scalar = f32;
alias Value = f32;
alias Index = i32;
alias Bits = u32;
alias Truths = bool;
// Whether elements can be NaN, which is above all. max() may lose it, so the loop also keeps a sum: without NaN in it there was none.
const FLOAT: bool = true;
// Whether the minimum is sought, which is the maximum of the negated elements.
const MIN: bool = false;
const WIDTH: u32 = 1;
const WORKGROUP: u32 = 64;

struct Params {
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> values: array<Value>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> indices: array<i32>; // [outer, chunks, inner]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn whereNaN(v: Value) -> Truths {
  return (bitcast<Bits>(v) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
}

// The value whose maximum is sought: that of the smallest element is the largest.
fn maxKey(v: Value) -> Value {
  if (!MIN) { return v; }
  if (FLOAT) { return -v; }
  return Value(-1) - v;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let columns = params.inner / WIDTH;
  if (index >= params.outer * params.chunks * columns) { return; }
  let piece = index / columns;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let step = params.nStride / WIDTH;
  let start = (params.offset + row * params.outerStride) / WIDTH + (index % columns) * params.innerStride;

  var at = start + first * step;
  var best = maxKey(input[at]);
  var sum = Value();
  // Where the four elements that hold the maximum begin, for each component.
  var four = Index(i32(first));
  var k = first;
  for (; k + 4 <= last; k += 4) {
    let a = maxKey(input[at]);
    let b = maxKey(input[at + step]);
    let c = maxKey(input[at + 2 * step]);
    let d = maxKey(input[at + 3 * step]);
    let high = max(max(a, b), max(c, d));
    if (FLOAT) { sum += (a + b) + (c + d); }
    four = select(four, Index(i32(k)), high > best);
    best = max(best, high);
    at += 4 * step;
  }
  let rest = k;
  for (; k < last; k++) {
    let value = maxKey(input[at]);
    four = select(four, Index(i32(rest)), value > best);
    best = max(best, value);
    if (FLOAT) { sum += value; }
    at += step;
  }
  // The place of the first NaN, or -1. Infinities of both signs make the sum NaN too.
  var place = Index(-1);
  // The cast is there because Chromium 147 makes invalid SPIR-V of any() on a bool.
  if (FLOAT && any(vec4<bool>(whereNaN(sum)))) {
    for (k = first; k < last; k++) {
      let value = input[start + k * step];
      let here = whereNaN(value) & (place < Index(0));
      place = select(place, Index(i32(k)), here);
      best = select(best, maxKey(value), here);
    }
  }
  values[index] = maxKey(best);
  for (var c = 0u; c < WIDTH; c++) {
    let top = vec4<Scalar>(best)[c];
    var found = u32(vec4<i32>(four)[c]);
    let end = min(found + 4, last) - 1;
    while (found < end && vec4<Scalar>(maxKey(input[start + found * step]))[c] != top) { found++; }
    let ofNaN = vec4<i32>(place)[c];
    indices[index * WIDTH + c] = select(i32(found), ofNaN, ofNaN >= 0);
  }
}
