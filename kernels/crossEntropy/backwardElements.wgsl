// The gradient of cross-entropy, dlogits = (softmax(logits) - onehot(label)) * gradient of the row's loss, with a thread for each
// Element, so neighbouring threads read neighbours.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;
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
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let result = wid.z * params.strides[1].x / ROW_VEC;
  let n = params.classes / ROW_VEC;
  let i = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (i >= params.rows * n) { return; }
  let row = i / n;
  let largestAndSum = statistics[own.z / 2u + row];
  // A negative label becomes a large number, which is no class.
  let label = u32(labels[own.y + row % params.labelRows]);
  if (IGNORE && label == u32(params.ignored)) {
    dlogits[result + i] = Element(0.0);
    return;
  }
  if (label >= params.classes) {
    dlogits[result + i] = Element(bitcast<f32>(params.nan));
    return;
  }
  let place = i32(label) - i32(i % n * ROW_VEC);
  var wanted = select(Element(0.0), Element(1.0), LANES == Element(f32(place)));
  if (SMOOTH) { wanted = wanted * (1.0 - params.smoothing) + params.smoothing / f32(params.classes); }
  let probability = exp(logits[own.x / ROW_VEC + i] - largestAndSum.x) / largestAndSum.y;
  dlogits[result + i] = (probability - wanted) * (gradient[own.w + row / params.gradientRows] * params.scale);
}
