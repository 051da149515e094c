// The first k of each line in sorted order, for a small k. A thread looks at every `chunks`-th element and keeps the first 4 QUADS of them
// sorted in registers; a further pass does the same with what the threads of a line found.

const FLOAT: bool = true;
const DESCENDING: bool = false;
const NAN_FIRST: bool = false;
// Whether one thread looks at a whole line, so that its indices are the result.
const LAST: bool = false;
// Whether the elements are pairs of an earlier pass.
const PAIRS: bool = false;
const QUADS: u32 = 4u;
const WORKGROUP: u32 = 64u;

struct Params { outer: u32, n: u32, inner: u32, k: u32, chunks: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> before: array<vec2u>; // [outer * inner, n]: key and index of an earlier pass
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2u>; // [outer * inner, chunks, k]: key and index
@group(0) @binding(3) var<storage, read_write> indices: array<i32>; // [outer, k, inner]
@group(1) @binding(0) var<uniform> params: Params;

// The order of an element as an unsigned number, made from its bits: -0 and 0 are equal, and NaN comes first or last.
fn orderKey(word: u32) -> u32 {
  var key = word ^ 0x80000000u;
  if (FLOAT) {
    let size = word & 0x7fffffffu;
    if (size > 0x7f800000u) { return select(0xffffffffu, 0u, NAN_FIRST); }
    key = select(0x80000000u + size, 0x80000000u - size, word > 0x7fffffffu);
  }
  return select(key, ~key, DESCENDING);
}

// Puts a pair into four places of a sorted list. `carry` is the pair before them, and becomes their former last one.
fn insert(keys: ptr<function, vec4u>, places: ptr<function, vec4u>, carry: ptr<function, vec2u>, pair: vec2u) {
  let k = *keys;
  let p = *places;
  let kBefore = vec4u((*carry).x, k.xyz);
  let pBefore = vec4u((*carry).y, p.xyz);
  let key = vec4u(pair.x);
  let place = vec4u(pair.y);
  let above = (key < k) | ((key == k) & (place < p));
  let earlier = (key < kBefore) | ((key == kBefore) & (place < pBefore));
  *keys = select(select(k, key, above), kBefore, earlier);
  *places = select(select(p, place, above), pBefore, earlier);
  *carry = vec2u(k.w, p.w);
}

fn storeQuad(line: u32, chunk: u32, quad: u32, keys: vec4u, places: vec4u) {
  for (var c = 0u; c < 4u; c++) {
    let k = 4u * quad + c;
    if (k >= params.k) { return; }
    if (LAST) {
      indices[(line / params.inner * params.k + k) * params.inner + line % params.inner] = i32(places[c]);
    } else {
      pairs[(line * params.chunks + chunk) * params.k + k] = vec2u(keys[c], places[c]);
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let line = thread / params.chunks;
  if (line >= params.outer * params.inner) { return; }
  let chunk = thread - line * params.chunks;
  let start = line / params.inner * params.n * params.inner + line % params.inner;
  var k0 = vec4u(0xffffffffu);
  var p0 = vec4u(0xffffffffu);
  var k1 = vec4u(0xffffffffu);
  var p1 = vec4u(0xffffffffu);
  var k2 = vec4u(0xffffffffu);
  var p2 = vec4u(0xffffffffu);
  var k3 = vec4u(0xffffffffu);
  var p3 = vec4u(0xffffffffu);
  var k4 = vec4u(0xffffffffu);
  var p4 = vec4u(0xffffffffu);
  var k5 = vec4u(0xffffffffu);
  var p5 = vec4u(0xffffffffu);
  var k6 = vec4u(0xffffffffu);
  var p6 = vec4u(0xffffffffu);
  var k7 = vec4u(0xffffffffu);
  var p7 = vec4u(0xffffffffu);
  // The last pair that is kept.
  var last = vec2u(0xffffffffu);
  for (var k = chunk; k < params.n; k += params.chunks) {
    var pair: vec2u;
    if (PAIRS) { pair = before[line * params.n + k]; } else { pair = vec2u(orderKey(x[start + k * params.inner]), k); }
    if (pair.x < last.x || (pair.x == last.x && pair.y < last.y)) {
      var carry = vec2u();
      if (QUADS > 0u) { insert(&k0, &p0, &carry, pair); }
      if (QUADS > 1u) { insert(&k1, &p1, &carry, pair); }
      if (QUADS > 2u) { insert(&k2, &p2, &carry, pair); }
      if (QUADS > 3u) { insert(&k3, &p3, &carry, pair); }
      if (QUADS > 4u) { insert(&k4, &p4, &carry, pair); }
      if (QUADS > 5u) { insert(&k5, &p5, &carry, pair); }
      if (QUADS > 6u) { insert(&k6, &p6, &carry, pair); }
      if (QUADS > 7u) { insert(&k7, &p7, &carry, pair); }
      // The former last pair has left; the new one ends the last quad.
      last = vec2u(lastOf(k0.w, k1.w, k3.w, k7.w), lastOf(p0.w, p1.w, p3.w, p7.w));
    }
  }
  if (QUADS > 0u) { storeQuad(line, chunk, 0u, k0, p0); }
  if (QUADS > 1u) { storeQuad(line, chunk, 1u, k1, p1); }
  if (QUADS > 2u) { storeQuad(line, chunk, 2u, k2, p2); }
  if (QUADS > 3u) { storeQuad(line, chunk, 3u, k3, p3); }
  if (QUADS > 4u) { storeQuad(line, chunk, 4u, k4, p4); }
  if (QUADS > 5u) { storeQuad(line, chunk, 5u, k5, p5); }
  if (QUADS > 6u) { storeQuad(line, chunk, 6u, k6, p6); }
  if (QUADS > 7u) { storeQuad(line, chunk, 7u, k7, p7); }
}

// The value of the last of 1, 2, 4 or 8 quads.
fn lastOf(one: u32, two: u32, four: u32, eight: u32) -> u32 {
  return select(select(select(eight, four, QUADS == 4u), two, QUADS == 2u), one, QUADS == 1u);
}
