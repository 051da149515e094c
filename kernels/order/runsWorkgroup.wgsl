// Sorts runs of RUN neighbours along the middle axis of [outer, n, inner], and keeps the first `keep` of each. A workgroup sorts a run in
// its memory with a bitonic network (Batcher 1968). Each element is a pair of its key and its index, so that equal keys stay in order.

const FLOAT: bool = true;
const DESCENDING: bool = false;
const NAN_FIRST: bool = false;
// Whether a run is a whole line, so that its indices are the result.
const LAST: bool = false;
// Whether the elements are pairs of an earlier pass.
const PAIRS: bool = false;
const RUN: u32 = 1024u;
const WORKGROUP: u32 = 256u;

struct Params { outer: u32, n: u32, inner: u32, keep: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> before: array<vec2u>; // [outer * inner, n]: key and index of an earlier pass
// [outer * inner, n] where runs are kept whole, else [outer * inner, runs, keep]: key and index
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> indices: array<i32>; // [outer, min(n, keep), inner]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> keys: array<u32, RUN>;
var<workgroup> places: array<u32, RUN>;

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

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let runs = (params.n + RUN - 1u) / RUN;
  let group = wid.y * groups.x + wid.x;
  let line = group / runs;
  if (line >= params.outer * params.inner) { return; }
  let run = group - line * runs;
  let start = line / params.inner * params.n * params.inner + line % params.inner;
  for (var t = local; t < RUN; t += WORKGROUP) {
    let k = run * RUN + t;
    // Behind the end of the line come pairs that are above all.
    var pair = vec2u(0xffffffffu);
    if (k < params.n) {
      if (PAIRS) { pair = before[line * params.n + k]; } else { pair = vec2u(orderKey(x[start + k * params.inner]), k); }
    }
    keys[t] = pair.x;
    places[t] = pair.y;
  }
  for (var size = 2u; size <= RUN; size *= 2u) {
    for (var stride = size / 2u; stride > 0u; stride /= 2u) {
      workgroupBarrier();
      for (var t = local; t < RUN / 2u; t += WORKGROUP) {
        let i = 2u * t - (t & (stride - 1u));
        let j = i + stride;
        let low = vec2u(keys[i], places[i]);
        let high = vec2u(keys[j], places[j]);
        let less = high.x < low.x || (high.x == low.x && high.y < low.y);
        if (less == ((i & size) == 0u)) {
          keys[i] = high.x;
          places[i] = high.y;
          keys[j] = low.x;
          places[j] = low.y;
        }
      }
    }
  }
  workgroupBarrier();
  let whole = params.keep >= RUN;
  let kept = select(params.keep, min(RUN, params.n - run * RUN), whole);
  if (LAST) {
    let count = min(params.n, params.keep);
    for (var t = local; t < count; t += WORKGROUP) {
      indices[(line / params.inner * count + t) * params.inner + line % params.inner] = i32(places[t]);
    }
  } else {
    let to = select((line * runs + run) * params.keep, line * params.n + run * RUN, whole);
    for (var t = local; t < kept; t += WORKGROUP) { pairs[to + t] = vec2u(keys[t], places[t]); }
  }
}
