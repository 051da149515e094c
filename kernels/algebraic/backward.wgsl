// out = grad * f'(x), where `saved` is x for abs and square, and y = f(x) for the others. Workgroups share out as in
// elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 0u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const ABS = 0u; const SQUARE = 6u; const RECIPROCAL = 7u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read> saved: array<vec4<Stored>>; // [count]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits because compilers may assume that there is no NaN.
fn areNaN(v: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// -1, 0 or 1; NaN stays NaN. Drivers turn selects between 0 and -1 into a product, whose 0 would be -0.
fn signOf(v: vec4<f32>) -> vec4<f32> {
  let s = vec4<f32>(v > vec4(0.0)) - vec4<f32>(v < vec4(0.0));
  return select(s, v, areNaN(v));
}

fn applyAlgebraicBackward(g: vec4<f32>, s: vec4<f32>) -> vec4<f32> {
  switch OP {
    case ABS: { return g * signOf(s); }
    case SQUARE: { return 2.0 * (g * s); }
    case RECIPROCAL: { return -(g * s * s); }
    default: { return -0.5 * (g * s * s * s); }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / 4u; // the first elements of this branch's operands
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let v = vec4<Stored>(applyAlgebraicBackward(vec4<f32>(grad[own.x + i]), vec4<f32>(saved[own.y + i])));
    if (!TAIL || i < params.count / 4u) {
      out[own.z + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.z + i][j] = v[j]; }
    }
  }
}
