// Fills out with a box of source values and zeros around it, which is what slicing does to a gradient. `begin` and `end` bound the box
// in the outer dims, `start` and `stop` in the innermost one. A thread takes RUN neighbouring elements of one row.
alias Element = u32;
const RUN: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, begin: array<vec4<u32>, 2>, end: array<vec4<u32>, 2>,
  sourceStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, start: u32, stop: u32, sourceStep: u32, sourceOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Element>; // the box, by strides
@group(0) @binding(1) var<storage, read_write> out: array<Element>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atSource = own.x + params.sourceOffset;
  var inside = true;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    let first = params.begin[(d - 1u) / 4u][(d - 1u) % 4u];
    inside = inside && at >= first && at < params.end[(d - 1u) / 4u][(d - 1u) % 4u];
    // The index wraps outside the box, where it is not used.
    atSource += (at - first) * params.sourceStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  let outRow = own.y + row * params.inner;
  for (var i = start; i < end; i++) {
    var v = Element();
    if (inside && i >= params.start && i < params.stop) { v = source[atSource + (i - params.start) * params.sourceStep]; }
    out[outRow + i] = v;
  }
}
