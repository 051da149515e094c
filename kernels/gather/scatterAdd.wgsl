// Sums of rows by index: output[r] is the sum of input[k] over all k with indices[k] = r, in the order of k. A thread owns one
// element of the output, or four neighbours (Value = vec4), and looks at every index, so no two threads write one element.

alias Value = f32;
alias Sum = Value;
const WIDTH: u32 = 1;
// The rows that are added up before their sum joins the levels.
const BLOCK: u32 = 32;

struct Params { count: u32, rows: u32, width: u32 }

@group(0) @binding(0) var<storage, read> input: array<Value>; // [count, width]
@group(0) @binding(1) var<storage, read> indices: array<i32>; // [count]
@group(0) @binding(2) var<storage, read_write> output: array<Value>; // [rows, width]
@group(1) @binding(0) var<uniform> params: Params;

// The levels of a long sum: a adds up 16 blocks, b 16 sums of a, c 16 of b, and d the rest. So rounding hardly grows with the length.
struct BlockLevels { blocks: u32, a: Sum, b: Sum, c: Sum, d: Sum }

fn join(levels: ptr<function, BlockLevels>, block: Sum) {
  (*levels).a += block;
  (*levels).blocks += 1u;
  if ((*levels).blocks % 16u != 0u) { return; }
  (*levels).b += (*levels).a; (*levels).a = Sum();
  if ((*levels).blocks % 256u != 0u) { return; }
  (*levels).c += (*levels).b; (*levels).b = Sum();
  if ((*levels).blocks % 4096u != 0u) { return; }
  (*levels).d += (*levels).c; (*levels).c = Sum();
}

fn levelSum(levels: BlockLevels) -> Sum {
  return levels.d + (levels.c + (levels.b + levels.a));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64 + local;
  let columns = params.width / WIDTH;
  if (at >= params.rows * columns) { return; }
  let row = i32(at / columns);
  let column = at % columns;
  var levels: BlockLevels;
  for (var first = 0u; first < params.count; first += BLOCK) {
    var sum = Value();
    let last = min(first + BLOCK, params.count);
    for (var k = first; k < last; k++) {
      if (indices[k] == row) { sum += input[k * columns + column]; }
    }
    join(&levels, sum);
  }
  output[at] = levelSum(levels);
}
