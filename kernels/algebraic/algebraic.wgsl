// y = f(x), for functions of a few instructions. Workgroups share y as in elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 1u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const ABS = 0u; const SIGN = 1u; const FLOOR = 2u; const CEIL = 3u; const ROUND = 4u; const TRUNC = 5u; const SQUARE = 6u;
const RECIPROCAL = 7u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Stored>>; // [count]
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

fn applyAlgebraic(v: vec4<f32>) -> vec4<f32> {
  switch OP {
    case ABS: { return abs(v); }
    case SIGN: { return signOf(v); }
    case FLOOR: { return floor(v); }
    case CEIL: { return ceil(v); }
    case ROUND: { return round(v); } // Ties go to even.
    case TRUNC: { return trunc(v); }
    case SQUARE: { return v * v; }
    case RECIPROCAL: { return 1.0 / v; }
    default: { return 1.0 / sqrt(v); }
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
    let v = vec4<Stored>(applyAlgebraic(vec4<f32>(x[own.x + i])));
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][j] = v[j]; }
    }
  }
}
