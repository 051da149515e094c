// Sums of rows by index: output[r] = sum of input[k] over all k with indices[k] = r, in the order of k. A thread owns an element
// of the output, or four (Value = vec4), and looks at every index, so no two threads write one element.

alias Value = f32;
const WIDTH: u32 = 1;

struct Params {
  count: u32,
  rows: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> output: array<Value>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64 + local;
  let columns = params.width / WIDTH;
  if (at >= params.rows * columns) {
    return;
  }
  let row = i32(at / columns);
  let column = at % columns;
  var total = Value();
  // Sums of up to 256 rows join the total, so that rounding grows with their number only.
  for (var first = 0u; first < params.count; first += 256) {
    var sum = Value();
    let last = min(first + 256, params.count);
    for (var k = first; k < last; k++) {
      if (indices[k] == row) {
        sum += input[k * columns + column];
      }
    }
    total += sum;
  }
  output[at] = total;
}
