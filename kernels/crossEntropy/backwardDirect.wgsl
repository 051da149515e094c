// The gradient of cross-entropy, dlogits = (softmax(logits) - onehot(label)) * gradient of the row's loss, with a thread for each row.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
// The Elements that a turn of a loop takes, 1 or 2, a divisor of those of a row. On software devices a turn itself costs dearly.
const UNROLL: u32 = 1u;
// The place of each component in its Element: 0, 1, 2, 3 in a vec4.
const LANES: Element = Element(0.0);
// Whether labels are smoothed (1512.00567), and whether one label marks rows that count nothing.
const SMOOTH: bool = false;
const IGNORE: bool = false;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  rows: u32, classes: u32, nan: u32,
  labelRows: u32, // the rows after which labels repeat
  gradientRows: u32, // the rows that share an element of gradient
  scale: f32,
  smoothing: f32, ignored: i32, // the share of all classes, and the label of rows without loss
}

@group(0) @binding(0) var<storage, read> logits: array<Element>; // [rows, classes]
@group(0) @binding(1) var<storage, read> labels: array<i32>; // [labelRows]
// [rows]: the largest logit, and the sum of exp(logit - largest).
@group(0) @binding(2) var<storage, read> statistics: array<vec2<f32>>;
// [rows], or with a stride of 0 [1].
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<Element>; // [rows, classes]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (row >= params.rows) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let result = wid.z * params.strides[1].x / ROW_VEC;
  let n = params.classes / ROW_VEC;
  let start = row * n;
  let largest = statistics[own.z / 2u + row].x;
  // A negative label becomes a large number, which is no class.
  let label = u32(labels[own.y + row % params.labelRows]);
  let scaled = gradient[own.w + row / params.gradientRows] * params.scale;
  var g = select(bitcast<f32>(params.nan), scaled, label < params.classes);
  if (IGNORE && label == u32(params.ignored)) { g = 0.0; }
  // The class of the label and the others take these parts from the gradient.
  var taken = g;
  var others = 0.0;
  if (SMOOTH) {
    others = g * params.smoothing / f32(params.classes);
    taken = g * (1.0 - params.smoothing) + others;
  }
  let share = g / statistics[own.z / 2u + row].y;

  for (var j = 0u; j < n; j += UNROLL) {
    let i = start + j;
    let place = i32(label) - i32(j * ROW_VEC);
    let onehot = select(Element(others), Element(taken), LANES == Element(f32(place)));
    dlogits[result + i] = exp(logits[own.x / ROW_VEC + i] - largest) * share - onehot;
    if (UNROLL == 2u) {
      let nextOnehot = select(Element(others), Element(taken), LANES == Element(f32(place - i32(ROW_VEC))));
      dlogits[result + i + 1u] = exp(logits[own.x / ROW_VEC + i + 1u] - largest) * share - nextOnehot;
    }
  }
}
