// Sums of rows by index, where the stable order of the indices is known, and where each row begins in it: a thread owns an element
// of the output, or four (Value = vec4), and adds up the run of its row.

alias Value = f32;
const WIDTH: u32 = 1;

struct Params {
  count: u32,
  rows: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<Value>;
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
  let row = at / columns;
  let column = at % columns;
  let end = starts[row + 1];
  var total = Value();
  // Sums of up to 256 rows join the total, so that rounding grows with their number only.
  for (var place = starts[row]; place < end;) {
    var sum = Value();
    let last = min(place + 256, end);
    for (; place < last; place++) {
      sum += input[order[place] * columns + column];
    }
    total += sum;
  }
  output[at] = total;
}
