// Gradient of cross-entropy: dlogits = (softmax(logits) - onehot(label)) * gradient of the row's loss. One thread a row.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// Neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// Elements a turn of a loop takes, 1 or 2; it divides the Elements of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// The place of each lane in its Element: 0, 1, 2, 3 in a vec4.
const LANES: Element = Element(0.0);

struct Params {
  strides: array<vec4<u32>, 2>, // from branch to branch, of each binding
  rows: u32,
  classes: u32,
  nan: u32,
  gradientStride: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<Element>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
// Of each row: the largest logit, and the sum of exp(logit - largest).
@group(0) @binding(2) var<storage, read> statistics: array<vec2<f32>>;
// Of each row, or with a stride of 0 one for all.
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<Element>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + lid;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // where this branch's operands begin
  let result = wid.z * params.strides[1].x / ROW_VEC;
  let n = params.classes / ROW_VEC;
  let start = row * n;
  let largest = statistics[own.z / 2u + row].x;
  // A negative label becomes a large number.
  let label = u32(labels[own.y + row]);
  let given = gradient[own.w + row * params.gradientStride] * params.scale;
  let g = select(bitcast<f32>(params.nan), given, label < params.classes);
  let share = g / statistics[own.z / 2u + row].y;

  for (var j = 0u; j < n; j += UNROLL) {
    let i = start + j;
    let place = i32(label) - i32(j * ROW_VEC);
    let onehot = select(Element(0.0), Element(g), LANES == Element(f32(place)));
    dlogits[result + i] = exp(logits[own.x / ROW_VEC + i] - largest) * share - onehot;
    if (UNROLL == 2u) {
      let nextOnehot = select(Element(0.0), Element(g), LANES == Element(f32(place - i32(ROW_VEC))));
      dlogits[result + i + 1u] = exp(logits[own.x / ROW_VEC + i + 1u] - largest) * share - nextOnehot;
    }
  }
}
