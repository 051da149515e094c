// The gradients of keys and values (2205.14135) without workgroup memory or subgroups. A thread takes a key row and one query a step.
// Both gradients go to one buffer, each at its own offset and strides.

// The element type in memory. Sums are f32.
alias Scalar = f32;
alias Sum = f32;
alias Bits = u32;
const WORKGROUP: u32 = 64u;
// The most elements of a head's row.
const WIDTH: u32 = 64u;
// Whether there are several queries, whose contributions are added up in sums.
const MANY: bool = true;
// Whether there are so many queries that one chain of additions loses digits. Then sums over FOLD queries are compensated.
const LONG: bool = false;
const FOLD: u32 = 16u;
const LONG_WIDTH: u32 = select(1u, WIDTH, LONG);

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, dOut: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> dOut: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<Scalar>; // dk and dv, [B, H, Tk, Dh] in any strides
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
  let row = (wid.y * groups.x + wid.x) * WORKGROUP + local; // of [B, H, Tk]
  if (row >= params.batch * params.heads * params.keys) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let rest = wid.z * params.strides[1];
  let head = row / params.keys;
  let b = head / params.heads;
  let h = head % params.heads;
  let t = row % params.keys;
  let kRow = own.y + rowStart(params.k, b, h, t);
  let vRow = own.z + rowStart(params.v, b, h, t);
  let dkRow = rest.z + rowStart(params.dk, b, h, t);
  let dvRow = rest.z + rowStart(params.dv, b, h, t);
  var qRow = own.x + rowStart(params.q, b, h, 0u);
  var dOutRow = own.w + rowStart(params.dOut, b, h, 0u);

  var dk: array<f32, WIDTH>;
  var dv: array<f32, WIDTH>;
  var longDk: array<Compensated, LONG_WIDTH>;
  var longDv: array<Compensated, LONG_WIDTH>;
  let zero = params.width >> 31u; // 0, which compilers do not know
  var i = 0u;
  loop {
    let stop = select(params.queries, min(i + FOLD, params.queries), LONG);
    for (; i < stop; i++) {
      var s = 0.0;
      var p = 0.0;
      for (var d = 0u; d < params.width; d++) {
        s += f32(q[qRow + d]) * f32(k[kRow + d]);
        p += f32(dOut[dOutRow + d]) * f32(v[vRow + d]);
      }
      let logSum = lse[rest.x + head * params.queries + i];
      // The test is of the bits because e^NaN is not NaN on every driver, and compilers may assume that there is no NaN.
      let isNaN = (bitcast<u32>(logSum) & 0x7fffffffu) > 0x7f800000u;
      s = select(exp(s * params.scale - logSum), logSum, isNaN);
      p = s * (p - delta[rest.y + head * params.queries + i]) * params.scale;
      if (MANY && i + 1u < params.queries) {
        for (var d = 0u; d < params.width; d++) {
          dk[d] += p * f32(q[qRow + d]);
          dv[d] += s * f32(dOut[dOutRow + d]);
        }
      } else {
        for (var d = 0u; d < params.width; d++) {
          var dkElement = p * f32(q[qRow + d]);
          var dvElement = s * f32(dOut[dOutRow + d]);
          if (MANY) {
            dkElement += dk[d];
            dvElement += dv[d];
          }
          if (LONG) {
            longDk[d] = fold(longDk[d], dkElement, zero);
            longDv[d] = fold(longDv[d], dvElement, zero);
            dkElement = longDk[d].sum - longDk[d].excess;
            dvElement = longDv[d].sum - longDv[d].excess;
          }
          dkv[dkRow + d] = Scalar(dkElement);
          dkv[dvRow + d] = Scalar(dvElement);
        }
      }
      qRow += params.q.w;
      dOutRow += params.dOut.w;
    }
    if (!LONG || i >= params.queries) { break; }
    for (var d = 0u; d < params.width; d++) {
      longDk[d] = fold(longDk[d], dk[d], zero);
      longDv[d] = fold(longDv[d], dv[d], zero);
      dk[d] = 0.0;
      dv[d] = 0.0;
    }
  }
}
