// Moves elements where the source is contiguous along the last outer dim (M) and the target along the innermost one (N), in blocks of
// 4 x 4 that registers hold, and converts them to Target. A thread takes RUN neighbouring blocks of one block row of the target.
alias Source = u32;
alias Target = u32;
const RUN: u32 = 8u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, sourceStrides: array<vec4<u32>, 2>, targetStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, sourceStep: u32, sourceOffset: u32, targetStep: u32,
  targetOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<vec4<Source>>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<vec4<Target>>; // [dims, inner] by strides
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = (wid.y * groups.x + wid.x) * 64u + local;
  let width = params.inner / 4u;
  let runs = (width + RUN - 1u) / RUN;
  let blockRow = thread / runs;
  if (blockRow >= params.rows / 4u) { return; }

  let last = params.outer - 1u;
  let height = params.dims[last / 4u][last % 4u] / 4u;
  let m = blockRow % height;
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = blockRow / height;
  var atSource = own.x + params.sourceOffset + 4u * m;
  var atTarget = own.y + params.targetOffset + 4u * m * params.targetStrides[last / 4u][last % 4u];
  for (var d = last; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atSource += at * params.sourceStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atTarget += at * params.targetStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let sourceAt = atSource / 4u;
  let sourceRow = params.sourceStep / 4u;
  let targetAt = atTarget / 4u;
  let targetRow = params.targetStrides[last / 4u][last % 4u] / 4u;
  let start = (thread - blockRow * runs) * RUN;
  let end = min(start + RUN, width);
  for (var n = start; n < end; n++) {
    let a = vec4<Target>(source[sourceAt + (4u * n) * sourceRow]);
    let b = vec4<Target>(source[sourceAt + (4u * n + 1u) * sourceRow]);
    let c = vec4<Target>(source[sourceAt + (4u * n + 2u) * sourceRow]);
    let d = vec4<Target>(source[sourceAt + (4u * n + 3u) * sourceRow]);
    out[targetAt + n] = vec4(a.x, b.x, c.x, d.x);
    out[targetAt + targetRow + n] = vec4(a.y, b.y, c.y, d.y);
    out[targetAt + 2u * targetRow + n] = vec4(a.z, b.z, c.z, d.z);
    out[targetAt + 3u * targetRow + n] = vec4(a.w, b.w, c.w, d.w);
  }
}
