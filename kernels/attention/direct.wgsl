// Attention (2205.14135, with the online softmax of 1805.02867) without workgroup memory or subgroups. A thread takes a
// query row, with rows of all heads side by side, and 4 keys a step.

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
// How far, in powers of two, a row's highest score may rise before its LONG sums are scaled anew. Without scaling they are exact.
const SLACK: f32 = 8.0;
// The lowest finite score.
const LOWEST: f32 = -3.4028234663852886e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, out: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read_write> out: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(1) @binding(0) var<uniform> params: Params;

// The value, or NaN where a sum of exponentials is not positive and finite, since the terms hold NaN or infinity, or -infinity
// alone. The test is of the bits because drivers differ on exponentials of NaN and compilers may assume that there is no NaN.
fn orNaN(value: f32, sum: f32) -> f32 {
  var nan = 0x7fc00000u; // A variable, because a constant expression may not be NaN.
  return select(bitcast<f32>(nan), value, bitcast<u32>(sum) - 1u < 0x7f7fffffu);
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

fn rescaled(total: Compensated, factor: Sum) -> Compensated {
  return Compensated(total.sum * factor, total.excess * factor);
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
  let qRow = own.x + params.q.x + b * params.q.y + h * params.q.z + row % params.queries * params.q.w;
  let outRow = own.w + params.out.x + b * params.out.y + h * params.out.z + row % params.queries * params.out.w;
  let kStep = params.k.w;
  let vStep = params.v.w;
  var kRow = own.y + params.k.x + b * params.k.y + h * params.k.z;
  var vRow = own.z + params.v.x + b * params.v.y + h * params.v.z;

  var x: array<f32, WIDTH>; // the query, scaled
  var acc: array<f32, WIDTH>;
  for (var d = 0u; d < params.width; d++) { x[d] = f32(q[qRow + d]) * (params.scale * LOG2E); }
  var top = LOWEST;
  var total = 0.0;
  var longAcc: array<Compensated, LONG_WIDTH>;
  var longTop = top; // what the long sums are relative to
  var longTotal: Compensated;
  let zero = params.width >> 31u; // 0, which compilers do not know
  for (var j = 0u; j < params.keys; j += 4u) {
    let last = params.keys - 1u - j;
    let t1 = min(1u, last);
    let t2 = min(2u, last);
    let t3 = min(3u, last);
    var s = vec4<f32>();
    for (var d = 0u; d < params.width; d++) {
      let w = vec4(k[kRow + d], k[kRow + t1 * kStep + d], k[kRow + t2 * kStep + d], k[kRow + t3 * kStep + d]);
      s += x[d] * vec4<f32>(w);
    }
    // Past the end the last key is repeated, which changes no maximum.
    var highest = max(top, max(max(s.x, s.y), max(s.z, s.w)));
    if (LONG) { highest = select(top, highest, highest > top + SLACK); }
    var factor = exp2(top - highest);
    if (LONG && highest == top) { factor = 1.0; } // exp2(0.0) is not exactly 1 on every driver.
    top = highest;
    s = select(vec4<f32>(), exp2(s - top), vec4(0u, 1u, 2u, 3u) <= vec4(last));
    total = total * factor + ((s.x + s.y) + (s.z + s.w));
    for (var d = 0u; d < params.width; d++) {
      let w = vec4(v[vRow + d], v[vRow + t1 * vStep + d], v[vRow + t2 * vStep + d], v[vRow + t3 * vStep + d]);
      acc[d] = acc[d] * factor + dot(s, vec4<f32>(w));
    }
    kRow += 4u * kStep;
    vRow += 4u * vStep;
    if (LONG && ((j + 4u) % FOLD == 0u || last < 4u)) {
      let longFactor = select(exp2(longTop - top), 1.0, longTop == top); // exp2(0.0) is not exactly 1 on every driver.
      longTop = top;
      for (var d = 0u; d < params.width; d++) {
        longAcc[d] = fold(rescaled(longAcc[d], longFactor), acc[d], zero);
        acc[d] = 0.0;
      }
      longTotal = fold(rescaled(longTotal, longFactor), total, zero);
      total = 0.0;
    }
  }
  if (LONG) {
    for (var d = 0u; d < params.width; d++) { acc[d] = longAcc[d].sum - longAcc[d].excess; }
    total = longTotal.sum - longTotal.excess;
  }

  let inverse = orNaN(1.0 / total, total);
  for (var d = 0u; d < params.width; d++) { out[outRow + d] = Scalar(acc[d] * inverse); }
  lse[rest.x + row] = orNaN((top + log2(total)) * LN2, total);
}
