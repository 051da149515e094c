// Merges neighbouring sorted runs of `run` pairs in each line. A thread makes SEGMENT neighbours of the result: it finds by bisection how
// many of those before come from each of the two runs (merge path: Green, McColl and Bader 2012), and goes on from there.

// Whether this pass makes a whole line, so that its indices are the result.
const LAST: bool = false;
const SEGMENT: u32 = 32u;

struct Params { outer: u32, n: u32, inner: u32, run: u32 }

@group(0) @binding(0) var<storage, read> pairs: array<vec2u>; // [outer * inner, n]: key and index
@group(0) @binding(1) var<storage, read_write> merged: array<vec2u>; // [outer * inner, n]: key and index
@group(0) @binding(2) var<storage, read_write> indices: array<i32>; // [outer, n, inner]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let segments = (params.n + SEGMENT - 1u) / SEGMENT;
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let line = thread / segments;
  if (line >= params.outer * params.inner) { return; }
  let begin = (thread - line * segments) * SEGMENT;
  let stop = min(begin + SEGMENT, params.n);
  let base = line * params.n;
  // The two runs, of which the second may be short or missing.
  let first = begin - begin % (2u * params.run);
  let middle = min(first + params.run, params.n);
  let end = min(middle + params.run, params.n);
  let place = begin - first;
  var low = place - min(place, end - middle);
  var high = min(place, middle - first);
  while (low < high) {
    let half = (low + high) / 2u;
    // Of equal keys those of the first run come first.
    if (pairs[base + first + half].x <= pairs[base + middle + place - 1u - half].x) {
      low = half + 1u;
    } else {
      high = half;
    }
  }
  var i = first + low;
  var j = middle + place - low;
  // Past the end of a run its last pair is read, and not used.
  var a = pairs[base + min(i, middle - 1u)];
  var b = pairs[base + min(j, params.n - 1u)];
  let start = line / params.inner * params.n * params.inner + line % params.inner;
  for (var k = begin; k < stop; k++) {
    let takesFirst = i < middle && (j >= end || a.x <= b.x);
    let pair = select(b, a, takesFirst);
    if (LAST) { indices[start + k * params.inner] = i32(pair.y); } else { merged[base + k] = pair; }
    if (takesFirst) { i++; } else { j++; }
    let next = pairs[base + select(min(j, params.n - 1u), min(i, middle - 1u), takesFirst)];
    a = select(a, next, takesFirst);
    b = select(next, b, takesFirst);
  }
}
