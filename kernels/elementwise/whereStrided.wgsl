// out = condition != 0 ? a : b, for operands with any strides. A thread takes RUN neighbouring elements of one row. Values are moved as words,
// whatever their type. NaN is not 0.
alias Condition = f32;
alias Word = u32;
alias Value = f32;
alias Bits = u32;
alias Truth = bool;
const RUN: u32 = 32u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, conditionStrides: array<vec4<u32>, 2>, aStrides: array<vec4<u32>, 2>,
  bStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, conditionStep: u32, conditionOffset: u32, aStep: u32, aOffset: u32, bStep: u32,
  bOffset: u32,
}

@group(0) @binding(0) var<storage, read> condition: array<Condition>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read> a: array<Word>; // [dims, inner] by strides
@group(0) @binding(2) var<storage, read> b: array<Word>; // [dims, inner] by strides
@group(0) @binding(3) var<storage, read_write> out: array<Word>; // [dims, inner], row-major
@group(1) @binding(0) var<uniform> params: Params;

// The test is of the bits but for the sign, since drivers may take subnormals for 0.
fn holdsFor(c: Value) -> Truth {
  return (bitcast<Bits>(c) & Bits(0x7fffffffu)) != Bits(0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let runs = (params.inner + RUN - 1u) / RUN;
  let row = thread / runs;
  if (row >= params.rows) { return; }

  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = row;
  var atCondition = own.x + params.conditionOffset;
  var atA = own.y + params.aOffset;
  var atB = own.z + params.bOffset;
  for (var d = params.outer; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atCondition += at * params.conditionStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atA += at * params.aStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atB += at * params.bStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let start = (thread - row * runs) * RUN;
  let end = min(start + RUN, params.inner);
  let outRow = own.w + row * params.inner;
  for (var i = start; i < end; i++) {
    let c = f32(condition[atCondition + i * params.conditionStep]);
    out[outRow + i] = select(b[atB + i * params.bStep], a[atA + i * params.aStep], holdsFor(c));
  }
}
