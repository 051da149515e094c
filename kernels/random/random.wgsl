// Random numbers of one stream: elements 4k to 4k + 3 come from the Philox block of the counter (k, 0, stream). Workgroups share y
// as in unary.wgsl.
const NORMAL: bool = true;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, seedLow: u32, seedHigh: u32, streamLow: u32, streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

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

// Numbers in [0, 1) of the upper 24 bits, which float32 holds exactly.
fn uniform01(words: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(words >> vec4(8u)) * 0x1p-24;
}

// The sine and the cosine of 2 pi u, u in [0, 1), with an error of 1e-7. The built-in functions may have one of 5e-4.
fn turn(u: vec2<f32>) -> array<vec2<f32>, 2> {
  let quarter = round(u * 4.0);
  let a = (u - quarter * 0.25) * 6.2831855;
  let s = a * a;
  let sine = a + a * s * (-0.16666655 + s * (0.0083321781 + s * -0.0001951729));
  let cosine = 1.0 + s * (-0.5 + s * (0.041666647 + s * (-0.0013887367 + s * 2.4438435e-5)));
  let k = vec2<u32>(quarter);
  let swapped = (k & vec2(1u)) == vec2(1u);
  let sineSign = select(vec2(1.0), vec2(-1.0), (k & vec2(2u)) == vec2(2u));
  let cosineSign = select(vec2(1.0), vec2(-1.0), ((k + 1u) & vec2(2u)) == vec2(2u));
  return array(select(sine, cosine, swapped) * sineSign, select(cosine, sine, swapped) * cosineSign);
}

// Box-Muller: words x and z give the radius, from 1 - u, which is never 0, and words y and w the angle.
fn normal(words: vec4<u32>) -> vec4<f32> {
  let u = uniform01(words);
  let radius = sqrt(max(-2.0 * log(1.0 - u.xz), vec2(0.0)));
  let parts = turn(u.yw);
  let cosine = radius * parts[1];
  let sine = radius * parts[0];
  return vec4(cosine.x, sine.x, cosine.y, sine.y);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / 4u; // the first elements of this branch's operands
  let stream = params.streamLow + wid.z * params.streamStep;
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let words = philox(vec4(i, 0u, stream, params.streamHigh), vec2(params.seedLow, params.seedHigh));
    var v = uniform01(words);
    if (NORMAL) { v = normal(words); }
    if (!TAIL || i < params.count / 4u) {
      y[own.x + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.x + i][j] = v[j]; }
    }
  }
}
