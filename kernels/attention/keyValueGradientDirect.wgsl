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
// Whether query i of a head sees keys 0 to i alone.
const CAUSAL: bool = false;
// The kind of mask: 0 none, 1 numbers that are added to scores, where -infinity hides, 2 integers, where 0 hides.
const MASK: u32 = 0u;
const HIDES: bool = CAUSAL || MASK != 0u;
// Whether probabilities are dropped.
const DROPOUT: bool = false;
// Whether a head has the queries of several, params.period each, which share its keys.
const GROUPED: bool = false;
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  strides: array<vec4<u32>, 2>, // the strides of each binding from branch to branch
  q: vec4<u32>, // the offset, then the strides of batch, head and token
  k: vec4<u32>, v: vec4<u32>, dOut: vec4<u32>, dk: vec4<u32>, dv: vec4<u32>, mask: vec4<u32>,
  batch: u32, heads: u32, queries: u32, keys: u32, width: u32, scale: f32,
  maskStep: u32, // of the mask, from key to key
  period: u32,
  threshold: u32, keepScale: f32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> q: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(1) var<storage, read> k: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(2) var<storage, read> v: array<Scalar>; // [B, H, Tk, Dh] in any strides
@group(0) @binding(3) var<storage, read> dOut: array<Scalar>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<Scalar>; // dk and dv, [B, H, Tk, Dh] in any strides
@group(0) @binding(7) var<storage, read> mask: array<u32>; // [B, heads of queries, T, Tk] in any strides; unused without MASK
@group(1) @binding(0) var<uniform> params: Params;

fn rowStart(view: vec4<u32>, b: u32, h: u32, t: u32) -> u32 {
  return view.x + b * view.y + h * view.z + t * view.w;
}

// The position of a query in its own head.
fn positionOf(query: u32) -> u32 {
  if (GROUPED) { return query % params.period; }
  return query;
}

// The index of what the mask holds for a query and key 0.
fn maskStart(b: u32, h: u32, query: u32) -> u32 {
  let start = params.mask.x + b * params.mask.y;
  if (!GROUPED) { return start + h * params.mask.z + query * params.mask.w; }
  let head = h * (params.queries / params.period) + query / params.period;
  return start + head * params.mask.z + query % params.period * params.mask.w;
}

// The upper 32 bits of the products m * c. They are computed from 16-bit halves, because WGSL has no instruction for them.
fn mulHigh(m: vec2<u32>, c: vec2<u32>) -> vec2<u32> {
  let mLow = m & vec2(0xffffu);
  let mHigh = m >> vec2(16u);
  let cLow = c & vec2(0xffffu);
  let cHigh = c >> vec2(16u);
  let cross = mHigh * cLow + ((mLow * cLow) >> vec2(16u));
  let middle = mLow * cHigh + (cross & vec2(0xffffu));
  return mHigh * cHigh + (cross >> vec2(16u)) + (middle >> vec2(16u));
}

// Ten rounds of Philox4x32 (Salmon et al., SC 2011), with the same words as philox.ts.
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
  let m = vec2(0xd2511f53u, 0xcd9e8d57u);
  var even = counter.xz;
  var odd = counter.yw;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let high = mulHigh(m, even);
    let low = m * even;
    even = high.yx ^ odd ^ key;
    odd = low.yx;
    key += vec2(0x9e3779b9u, 0xbb67ae85u);
  }
  return vec4(even.x, odd.x, even.y, odd.y);
}

// The factors of the probabilities of query `row` of [B, H, Tq] and keys 4 n to 4 n + 3: 0 where they are dropped.
fn kept(row: u32, n: u32, stream: u32) -> vec4<f32> {
  let words = philox(vec4(n, row, stream, params.streamHigh), vec2(params.seedLow, params.seedHigh));
  return select(vec4<f32>(), vec4(params.keepScale), words >= vec4(params.threshold));
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
  let stream = params.streamLow + wid.z * params.streamStep;
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
      var seen = true;
      if (CAUSAL) { seen = t <= positionOf(i); }
      var added = 0.0; // by the mask
      if (MASK != 0u) {
        let word = mask[rest.w + maskStart(b, h, i) + t * params.maskStep];
        if (MASK == 1u) { added = bitcast<f32>(word); }
        seen = seen && select(word != 0u, bitcast<u32>(added * LOG2E) != 0xff800000u, MASK == 1u);
      }
      var s = 0.0;
      var p = 0.0;
      if (seen) {
        for (var d = 0u; d < params.width; d++) {
          s += f32(q[qRow + d]) * f32(k[kRow + d]);
          p += f32(dOut[dOutRow + d]) * f32(v[vRow + d]);
        }
      }
      let logSum = lse[rest.x + head * params.queries + i];
      // The test is of the bits because e^NaN is not NaN on every driver, and compilers may assume that there is no NaN.
      let isNaN = (bitcast<u32>(logSum) & 0x7fffffffu) > 0x7f800000u;
      s = select(exp(s * params.scale + added - logSum), logSum, isNaN);
      if (DROPOUT) {
        let factor = kept(head * params.queries + i, t / 4u, stream)[t % 4u];
        p = s * (p * factor - delta[rest.y + head * params.queries + i]) * params.scale;
        s *= factor;
      } else {
        p = s * (p - delta[rest.y + head * params.queries + i]) * params.scale;
      }
      if (MANY && i + 1u < params.queries) {
        if (seen) {
          for (var d = 0u; d < params.width; d++) {
            dk[d] += p * f32(q[qRow + d]);
            dv[d] += s * f32(dOut[dOutRow + d]);
          }
        }
      } else {
        for (var d = 0u; d < params.width; d++) {
          var dkElement = 0.0;
          var dvElement = 0.0;
          if (seen) {
            dkElement = p * f32(q[qRow + d]);
            dvElement = s * f32(dOut[dOutRow + d]);
          }
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
