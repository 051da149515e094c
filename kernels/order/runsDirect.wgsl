// Sorts runs of 16 neighbours along the middle axis of [outer, n, inner]. A thread sorts a run in registers with Batcher's odd-even merge
// network (1968). Each element is a pair of its key and its index, so that equal keys stay in order.

const FLOAT: bool = true;
const DESCENDING: bool = false;
const NAN_FIRST: bool = false;
// Whether a run is a whole line, so that its indices are the result.
const LAST: bool = false;
const WORKGROUP: u32 = 64u;

struct Params { outer: u32, n: u32, inner: u32, keep: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> before: array<vec2u>; // not read
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2u>; // [outer * inner, n]: key and index
@group(0) @binding(3) var<storage, read_write> indices: array<i32>; // [outer, n, inner]
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

// The pair of an element, or one that is above all where the line has ended.
fn load(line: u32, k: u32) -> vec2u {
  if (k >= params.n) { return vec2u(0xffffffffu); }
  return vec2u(orderKey(x[(line / params.inner * params.n + k) * params.inner + line % params.inner]), k);
}

fn storeRegister(line: u32, first: u32, place: u32, pair: vec2u) {
  let k = first + place;
  if (k >= params.n) { return; }
  if (LAST) {
    indices[(line / params.inner * params.n + k) * params.inner + line % params.inner] = i32(pair.y);
  } else {
    pairs[line * params.n + k] = pair;
  }
}

fn exchange(a: ptr<function, vec2u>, b: ptr<function, vec2u>) {
  let low = *a;
  let high = *b;
  let swap = high.x < low.x || (high.x == low.x && high.y < low.y);
  *a = select(low, high, swap);
  *b = select(high, low, swap);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let runs = (params.n + 15u) / 16u;
  let thread = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  let line = thread / runs;
  if (line >= params.outer * params.inner) { return; }
  let first = (thread - line * runs) * 16u;
  var a0 = load(line, first + 0u);
  var a1 = load(line, first + 1u);
  var a2 = load(line, first + 2u);
  var a3 = load(line, first + 3u);
  var a4 = load(line, first + 4u);
  var a5 = load(line, first + 5u);
  var a6 = load(line, first + 6u);
  var a7 = load(line, first + 7u);
  var a8 = load(line, first + 8u);
  var a9 = load(line, first + 9u);
  var a10 = load(line, first + 10u);
  var a11 = load(line, first + 11u);
  var a12 = load(line, first + 12u);
  var a13 = load(line, first + 13u);
  var a14 = load(line, first + 14u);
  var a15 = load(line, first + 15u);
  exchange(&a0, &a1); exchange(&a2, &a3); exchange(&a4, &a5); exchange(&a6, &a7); exchange(&a8, &a9); exchange(&a10, &a11);
  exchange(&a12, &a13); exchange(&a14, &a15); exchange(&a0, &a2); exchange(&a1, &a3); exchange(&a4, &a6); exchange(&a5, &a7);
  exchange(&a8, &a10); exchange(&a9, &a11); exchange(&a12, &a14); exchange(&a13, &a15); exchange(&a1, &a2); exchange(&a5, &a6);
  exchange(&a9, &a10); exchange(&a13, &a14); exchange(&a0, &a4); exchange(&a1, &a5); exchange(&a2, &a6); exchange(&a3, &a7);
  exchange(&a8, &a12); exchange(&a9, &a13); exchange(&a10, &a14); exchange(&a11, &a15); exchange(&a2, &a4); exchange(&a3, &a5);
  exchange(&a10, &a12); exchange(&a11, &a13); exchange(&a1, &a2); exchange(&a3, &a4); exchange(&a5, &a6); exchange(&a9, &a10);
  exchange(&a11, &a12); exchange(&a13, &a14); exchange(&a0, &a8); exchange(&a1, &a9); exchange(&a2, &a10); exchange(&a3, &a11);
  exchange(&a4, &a12); exchange(&a5, &a13); exchange(&a6, &a14); exchange(&a7, &a15); exchange(&a4, &a8); exchange(&a5, &a9);
  exchange(&a6, &a10); exchange(&a7, &a11); exchange(&a2, &a4); exchange(&a3, &a5); exchange(&a6, &a8); exchange(&a7, &a9);
  exchange(&a10, &a12); exchange(&a11, &a13); exchange(&a1, &a2); exchange(&a3, &a4); exchange(&a5, &a6); exchange(&a7, &a8);
  exchange(&a9, &a10); exchange(&a11, &a12); exchange(&a13, &a14);
  storeRegister(line, first, 0u, a0);
  storeRegister(line, first, 1u, a1);
  storeRegister(line, first, 2u, a2);
  storeRegister(line, first, 3u, a3);
  storeRegister(line, first, 4u, a4);
  storeRegister(line, first, 5u, a5);
  storeRegister(line, first, 6u, a6);
  storeRegister(line, first, 7u, a7);
  storeRegister(line, first, 8u, a8);
  storeRegister(line, first, 9u, a9);
  storeRegister(line, first, 10u, a10);
  storeRegister(line, first, 11u, a11);
  storeRegister(line, first, 12u, a12);
  storeRegister(line, first, 13u, a13);
  storeRegister(line, first, 14u, a14);
  storeRegister(line, first, 15u, a15);
}
