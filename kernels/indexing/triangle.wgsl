// output = x on one side of a diagonal of each matrix, that diagonal included, and 0 elsewhere. Elements are moved as bits.

alias Element = u32;
const LOWER: bool = false;

struct Params { batches: u32, rows: u32, columns: u32, diagonal: i32 }

@group(0) @binding(0) var<storage, read> x: array<Element>; // [batches, rows, columns]
@group(0) @binding(1) var<storage, read_write> output: array<Element>; // [batches, rows, columns]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  if (at >= params.batches * params.rows * params.columns) { return; }
  let line = at / params.columns;
  let above = i32(at - line * params.columns) - i32(line % params.rows) - params.diagonal;
  output[at] = select(Element(), x[at], select(above >= 0, above <= 0, LOWER));
}
