// Draws classes with replacement from rows of running sums of weights, by binary search, with a thread for each draw.
const WORKGROUP: u32 = 64u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  rows: u32, classes: u32, draws: u32, seedLow: u32, seedHigh: u32, streamLow: u32,
  streamHigh: u32,
  streamStep: u32, // of streamLow, from branch to branch
}

@group(0) @binding(0) var<storage, read> sums: array<f32>; // [rows, classes], ascending
@group(0) @binding(1) var<storage, read_write> drawn: array<i32>; // [rows, draws]
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
  let i = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (i >= params.rows * params.draws) { return; }
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  let stream = params.streamLow + wid.z * params.streamStep;
  let words = philox(vec4(i / 4u, 0u, stream, params.streamHigh), vec2(params.seedLow, params.seedHigh));
  let first = own.x + i / params.draws * params.classes;
  let total = bitcast<u32>(sums[first + params.classes - 1u]);
  // No class is drawn from a row whose sum is not positive and finite. The test is of the bits because compilers may assume that it is.
  if (total - 1u >= 0x7f7fffffu) {
    drawn[own.y + i] = -1;
    return;
  }
  // The first class whose running sum is above the goal has a positive weight. The product may round up to the total.
  let goal = min(uniform01(words)[i % 4u] * bitcast<f32>(total), bitcast<f32>(total - 1u));
  var low = 0u;
  var high = params.classes - 1u;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (sums[first + middle] > goal) {
      high = middle;
    } else {
      low = middle + 1u;
    }
  }
  drawn[own.y + i] = i32(low);
}
