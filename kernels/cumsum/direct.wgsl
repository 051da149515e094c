// Running sum along lines, one thread a line, no workgroup memory.

// What is summed: f32, i32, or a vec4 of the same place of 4 neighbouring lines.
alias Element = f32;
const WORKGROUP: u32 = 64u;
// Lines in one Element.
const LINE_VEC: u32 = 1u;
// Sum from the end of the line instead.
const REVERSE: bool = false;

struct Params { outer: u32, n: u32, inner: u32 }

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let inner = params.inner / LINE_VEC;
  let line = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (line >= params.outer * inner) { return; }
  let start = line / inner * params.n * inner + line % inner;

  var sum = Element();
  for (var j = 0u; j < params.n; j++) {
    let i = start + select(j, params.n - 1u - j, REVERSE) * inner;
    sum += x[i];
    y[i] = sum;
  }
}
