// y = 1 with the probability p of each element, else 0; NaN where p is. The random words are those of random.wgsl. Workgroups share y as
// in unary.wgsl.
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32, seedLow: u32, seedHigh: u32, streamLow: u32,
  streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> p: array<vec4<f32>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>; // [count]
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
    let chance = p[own.x + i];
    // The test is of the bits because compilers may assume that there is no NaN.
    let isNaN = (bitcast<vec4<u32>>(chance) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    let v = select(select(vec4(0.0), vec4(1.0), uniform01(words) < chance), chance, isNaN);
    if (!TAIL || i < params.count / 4u) {
      y[own.y + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[own.y + i][j] = v[j]; }
    }
  }
}
