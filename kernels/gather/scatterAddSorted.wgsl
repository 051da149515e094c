// Sums of rows by index, where the stable order of the indices is known: a thread owns an element of the output, or four
// (Value = vec4), finds the run of its row by bisection and adds it up.

alias Value = f32;
const WIDTH: u32 = 1;

struct Params {
  count: u32,
  rows: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> input: array<Value>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<Value>;
@group(1) @binding(0) var<uniform> params: Params;

// The first place whose index is at least `row`.
fn lowerBound(row: i32) -> u32 {
  var first = 0u;
  var end = params.count;
  while (first < end) {
    let middle = (first + end) / 2;
    if (indices[order[middle]] < row) {
      first = middle + 1;
    } else {
      end = middle;
    }
  }
  return first;
}

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
  let end = lowerBound(row + 1);
  var total = Value();
  // Sums of up to 256 rows join the total, so that rounding grows with their number only.
  for (var place = lowerBound(row); place < end;) {
    var sum = Value();
    let last = min(place + 256, end);
    for (; place < last; place++) {
      sum += input[order[place] * columns + column];
    }
    total += sum;
  }
  output[at] = total;
}
