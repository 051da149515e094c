// The maximum or minimum along a contiguous axis and the index of its first occurrence. A thread takes one output, with vec4 loads whose
// components stay apart until the end. The loop keeps only which four quads hold a maximum; where in them it is, is looked up at
// the end. Every offset, stride and length is a multiple of 4.

alias Scalar = f32;
alias Value = vec4<f32>;
alias Bits = vec4<u32>;
alias Truths = vec4<bool>;
const WORKGROUP: u32 = 64;
// Whether elements can be NaN, which is above all. max() may lose it, so the loop also keeps a sum: without NaN in it there was none.
const FLOAT: bool = true;
// Whether the minimum is sought, which is the maximum of the negated elements.
const MIN: bool = false;

struct Params {
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> values: array<Scalar>; // [outer, chunks, inner]
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
  if (index >= params.outer * params.chunks * params.inner) { return; }
  let piece = index / params.inner;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let start = (params.offset + row * params.outerStride + (index % params.inner) * params.innerStride) / 4;
  let end = min(first + params.chunk, params.n) / 4;

  var best = maxKey(input[start + first / 4]);
  var sum = Value();
  // Where the four quads that hold the maximum begin, for each component.
  var four = vec4i(i32(first / 4));
  var k = first / 4;
  for (; k + 4 <= end; k += 4) {
    let at = start + k;
    let a = maxKey(input[at]);
    let b = maxKey(input[at + 1]);
    let c = maxKey(input[at + 2]);
    let d = maxKey(input[at + 3]);
    let high = max(max(a, b), max(c, d));
    if (FLOAT) { sum += (a + b) + (c + d); }
    four = select(four, vec4i(i32(k)), high > best);
    best = max(best, high);
  }
  let rest = k;
  for (; k < end; k++) {
    let value = maxKey(input[start + k]);
    four = select(four, vec4i(i32(rest)), value > best);
    best = max(best, value);
    if (FLOAT) { sum += value; }
  }
  // Infinities of both signs make the sum NaN too.
  if (FLOAT && any(whereNaN(sum))) {
    for (k = first / 4; k < end; k++) {
      let value = input[start + k];
      let here = whereNaN(value);
      if (any(here)) {
        let c = select(select(select(3u, 2u, here.z), 1u, here.y), 0u, here.x);
        values[index] = value[c];
        indices[index] = i32(k * 4 + c);
        return;
      }
    }
  }
  let top = max(max(best.x, best.y), max(best.z, best.w));
  var found = end * 4 - 1;
  for (var c = 0u; c < 4; c++) {
    if (best[c] == top) {
      var quad = u32(four[c]);
      let last = min(quad + 4, end) - 1;
      while (quad < last && maxKey(input[start + quad])[c] != top) { quad++; }
      found = min(found, quad * 4 + c);
    }
  }
  values[index] = maxKey(Value(top)).x;
  indices[index] = i32(found);
}
