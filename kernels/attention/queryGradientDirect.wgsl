// The gradient of the queries (2205.14135) without workgroup memory or subgroups. A thread takes a query row and 4 keys a step.
// It also writes delta, the row sums of dOut * out, which the gradient of keys and values needs.

// The element type in memory. Sums are f32.
alias Scalar = f32;
alias Sum = f32;
alias Bits = u32;
const WORKGROUP: u32 = 64u;
// The most elements of a head's row.
const WIDTH: u32 = 64u;
// Whether there are so many keys that one chain of additions loses digits. Then sums over FOLD keys are compensated.
const LONG: bool = false;
const FOLD: u32 = 64u;
const LONG_WIDTH: u32 = select(1u, WIDTH, LONG);
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>, dOut: vec4<u32>, dq: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> out: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> dOut: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(5) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dq: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(7) var<storage, read_write> delta: array<f32>; // [B, H, Tq]
@group(1) @binding(0) var<uniform> params: Params;

fn rowStart(view: vec4<u32>, b: u32, h: u32, t: u32) -> u32 {
  return view.x + b * view.y + h * view.z + t * view.w;
}

// A sum of many partial sums, and what rounding has added to it (Kahan 1965, doi:10.1145/363707.363723).
struct Compensated { sum: Sum, excess: Sum }

// The value itself, but compilers, which simplify a difference of sums, cannot know that: `zero` is 0 only at run time.
fn opaque(value: Sum, zero: u32) -> Sum {
  return bitcast<Sum>(bitcast<Bits>(value) ^ Bits(zero));
}

fn fold(total: Compensated, part: Sum, zero: u32) -> Compensated {
  let term = part - total.excess;
  let sum = total.sum + term;
  return Compensated(sum, opaque(opaque(sum, zero) - total.sum, zero) - term);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local; // of [B, H, Tq]
  if (row >= params.batch * params.heads * params.queries) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let head = row / params.queries;
  let b = head / params.heads;
  let h = head % params.heads;
  let t = row % params.queries;
  let qRow = own.x + rowStart(params.q, b, h, t);
  let dOutRow = rest.x + rowStart(params.dOut, b, h, t);
  let dqRow = rest.z + rowStart(params.dq, b, h, t);
  let kStep = params.k.w;
  let vStep = params.v.w;
  var kRow = own.y + rowStart(params.k, b, h, 0u);
  var vRow = own.z + rowStart(params.v, b, h, 0u);

  var sum = 0.0;
  let outRow = own.w + rowStart(params.out, b, h, t);
  var x: array<f32, WIDTH>; // the query, scaled
  var g: array<f32, WIDTH>; // dOut
  var acc: array<f32, WIDTH>;
  for (var d = 0u; d < params.width; d++) {
    x[d] = f32(q[qRow + d]) * (params.scale * LOG2E);
    g[d] = f32(dOut[dOutRow + d]);
    sum += g[d] * f32(out[outRow + d]);
  }
  delta[rest.w + row] = sum;

  let logSum = lse[rest.y + row] * LOG2E;
  var longAcc: array<Compensated, LONG_WIDTH>;
  var total = 0.0; // of the probabilities: 1, but for the rounding of logSum
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  for (var j = 0u; j < params.keys; j += 4u) {
    let last = params.keys - 1u - j;
    let t1 = min(1u, last);
    let t2 = min(2u, last);
    let t3 = min(3u, last);
    var s = vec4<f32>();
    var p = vec4<f32>();
    for (var d = 0u; d < params.width; d++) {
      let key = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      let value = vec4(v[vRow + d], v[vRow + t1 * vStep + d], v[vRow + t2 * vStep + d], v[vRow + t3 * vStep + d]);
      s += x[d] * vec4<f32>(key);
      p += g[d] * vec4<f32>(value);
    }
    let inside = vec4(0u, 1u, 2u, 3u) <= vec4(last);
    let share = exp2(s - logSum);
    s = share * (p - sum);
    s = select(vec4<f32>(), s, inside);
    if (LONG) { total += dot(select(vec4<f32>(), share, inside), vec4(1.0)); }
    for (var d = 0u; d < params.width; d++) {
      let key = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      acc[d] += dot(s, vec4<f32>(key));
    }
    kRow += 4u * kStep;
    vRow += 4u * vStep;
    if (LONG && ((j + 4u) % FOLD == 0u || last < 4u)) {
      for (var d = 0u; d < params.width; d++) {
        longAcc[d] = fold(longAcc[d], acc[d], zero);
        acc[d] = 0.0;
      }
      longTotal = fold(longTotal, total, zero);
      total = 0.0;
    }
  }
  if (LONG) {
    total = longTotal.sum - longTotal.excess;
    for (var d = 0u; d < params.width; d++) { acc[d] = (longAcc[d].sum - longAcc[d].excess) / total; }
  }
  for (var d = 0u; d < params.width; d++) { dq[dqRow + d] = Scalar(acc[d] * params.scale); }
}
