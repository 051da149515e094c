// out = x op scalar, or scalar op x. Workgroups share out as in unary.wgsl.
alias Stored = f32;
alias Scalar = f32;
const OP: u32 = 0u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const ADD: u32 = 0u; const MUL: u32 = 1u; const DIV: u32 = 2u; const SUB_FROM: u32 = 3u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, scalar: Scalar,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

fn applyScalar(v: vec4<Scalar>, s: vec4<Scalar>) -> vec4<Scalar> {
  switch OP {
    case ADD: { return v + s; }
    case MUL: { return v * s; }
    case DIV: { return v / s; }
    case SUB_FROM: { return s - v; }
    default: { return s / v; }
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
    let v = vec4<Stored>(applyScalar(vec4<Scalar>(x[own.x + i]), vec4(params.scalar)));
    if (!TAIL || i < params.count / 4u) {
      out[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.y + i][j] = v[j]; }
    }
  }
}
