// out = a + weight (b - a), for operands with any strides. A thread takes RUN neighbouring elements of one row.
alias Stored = f32;
alias Value = f32;
const RUN: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>, bStrides: array<vec4<u32>, 2>,
  weightStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, aStep: u32, aOffset: u32, bStep: u32, bOffset: u32, weightStep: u32,
  weightOffset: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Stored>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> b: array<Stored>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read> weight: array<Stored>; // [dims, inner] by strides
@group(0) @binding(3) var<storage, read_write> out: array<Stored>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

// From the nearer end, so that weights of 0 and 1 give the ends themselves.
fn between(v: Value, w: Value, t: Value) -> Value {
  return select(w - (w - v) * (1.0 - t), v + t * (w - v), t < Value(0.5));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atA = own.x + params.aOffset;
  var atB = own.y + params.bOffset;
  var atWeight = own.z + params.weightOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atWeight += at * params.weightStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  let outRow = own.w + row * params.inner;
  for (var i = start; i < end; i++) {
    let v = f32(a[atA + i * params.aStep]);
    let w = f32(b[atB + i * params.bStep]);
    out[outRow + i] = Stored(between(v, w, f32(weight[atWeight + i * params.weightStep])));
  }
}
