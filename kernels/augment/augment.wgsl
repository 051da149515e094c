// Makes a batch of images from stored bytes: picks the images, pads and crops, flips, applies RandAugment (Cubuk et al., 2020, 1909.13719)
// and normalises. The bytes are those of hostImage.ts, with the same draws. What is resized comes from the kernel resizeImages.
//
// All changes of an image are put together before any pixel is touched. A chain is a crop and flip, then sharpness or up to two affine
// operations, then a table of bytes, then colour; a pixel follows it backwards to its source. Only where an operation does not fit behind the
// chain is the image written as words of pixels to scratch memory. Each dispatch does one stage for all images, and derives the chain of its
// image from the draws, so that no workgroup waits: on lavapipe a barrier doubles the time of all loops around it. Branches depend on the
// image's draws alone, and a workgroup works on one image, so that it takes one side of each.
//
// A thread has all channels of four pixels of a row, a quarter of it apart, so that threads side by side have pixels side by side. On software
// devices each load, look-up and store of a lane costs the same, wherever it goes, so a pixel of three channels is one word, three look-ups
// and three stores.
const WORKGROUP: u32 = 8u;
const CHANNELS: u32 = 3u;
const AUGMENTS: bool = true; // whether RandAugment may be asked for
const PACKED: bool = true; // whether the source is words of pixels, as resizeImages writes, in the order of the batch
const WHOLE: bool = true; // whether the width is a multiple of 4
const OWN_COUNTS: bool = true; // whether each copy of a histogram has one thread

// Entries of a channel's table: the bytes, then pixels outside of the first and of the second affine operation.
const ENTRIES: u32 = 258u;
// Copies of a histogram, which threads count in by turns.
const COPIES: u32 = 8u;
// Where a chain begins: at the source, or in one of the slots of scratch memory.
const STORED: u32 = 2u;
// The result of a walk over the pixels.
const NOTHING: u32 = 0u;
const PIXELS: u32 = 1u;
const LUMA: u32 = 2u;
const RANGE: u32 = 3u;
const HISTOGRAM: u32 = 4u;
const RESULT: u32 = 5u;
// Stages of a batch: three of each operation, and the last.
const FLUSH: u32 = 0u;
const STATISTICS: u32 = 1u;
const COMPOSE: u32 = 2u;
const FINISH: u32 = 3u;
// Operations by their number in operations.ts.
const ROTATE: u32 = 5u;
const BRIGHTNESS: u32 = 6u;
const COLOR: u32 = 7u;
const CONTRAST: u32 = 8u;
const SHARPNESS: u32 = 9u;
const POSTERIZE: u32 = 10u;
const SOLARIZE: u32 = 11u;
const AUTO_CONTRAST: u32 = 12u;
const EQUALIZE: u32 = 13u;
const END: u32 = 14u;

struct Params {
  stage: u32, operation: u32, // what this dispatch does, for which operation of the image
  count: u32, height: u32, width: u32,
  start: u32, stride: u32, // the first word of the first image in `source`, and words from image to image
  byRow: u32, // 1 where image b of the batch is image b of `source`, 0 where it is the image of its row's sample
  rowWords: u32, // from row to row
  slots: u32, // of scratch memory
  seedLow: u32, seedHigh: u32, purpose: u32,
  cropPadding: u32, flip: u32, operations: u32,
  mask: u32, threshold: u32, // of posterize and solarize
  exceptions: u32, // their number
  zero: u32, below: f32, above: f32, // 0, and the two factors of a blend
}

// PACKED: [count, planes, height, width], words of up to 4 channels, the first one lowest, with rows padded to whole fours. Else bytes
// [CHANNELS, height, words of width], whose rows are padded to whole words, the first byte lowest.
@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> rows: array<i32>; // [count, rowWords]: sample, epoch, ...
// Values of bytes [CHANNELS, 256] as bits of f32. Of RandAugment the affine operations [5, 2 signs, 6], and the exceptions of
// autoContrast in ascending order.
@group(0) @binding(2) var<storage, read> tables: array<i32>;
// [count]: slots [planes, height, width] of words of pixels, as PACKED, and the table [CHANNELS, ENTRIES]
@group(0) @binding(3) var<storage, read_write> scratch: array<u32>;
// [count]: counts of bytes [COPIES, CHANNELS, 256], least and most byte [CHANNELS] each, the sum of luma
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> images: array<f32>; // [count, CHANNELS, height, width]
@group(1) @binding(0) var<uniform> params: Params;

const HISTOGRAMS: u32 = COPIES * CHANNELS * 256u;

// In 16.16 fixed point the output pixel (x, y) shows the input pixel (x0 + x xx + y yx, y0 + x xy + y yy).
struct Affine { xx: i32, xy: i32, yx: i32, yy: i32, x0: i32, y0: i32 }

struct Chain {
  slot: u32, // STORED or a slot
  base: u32, // the first word of the image there
  top: i32, left: i32, flipped: bool,
  affines: u32, a: Affine, b: Affine,
  lut: u32, // the first word of the table
  sharp: u32, color: u32, // 0, or 1 for the factor 1 - 0.9 level and 2 for 1 + 0.9 level
  hasLut: bool,
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

// A whole number from 0 to n - 1 by a random word.
fn below(word: u32, n: u32) -> u32 {
  return mulHigh(vec2(word), vec2(n)).x;
}

// Four pixels of a plane: words of up to 4 channels, and entries of the table that stand for pixels outside, else 0. Words outside are 0.
struct PixelFour { words: vec4<u32>, outside: vec4<u32> }

fn areInside(x: vec4<i32>, y: vec4<i32>) -> vec4<bool> {
  return (vec4<u32>(x) < vec4(params.width)) & (vec4<u32>(y) < vec4(params.height));
}

// Byte `at` of four words of a stored image of which each channel has `words`.
fn storedBytes(base: u32, at: vec4<u32>) -> vec4<u32> {
  let i = vec4(base) + at / 4u;
  return (vec4(source[i.x], source[i.y], source[i.z], source[i.w]) >> (8u * (at % 4u))) & vec4(255u);
}

// Pixels (x, y) of a plane of a chain's source after crop and flip; zeros outside of the image.
fn shifted(chain: Chain, plane: u32, x: vec4<i32>, y: vec4<i32>) -> vec4<u32> {
  let column = select(x, vec4(i32(params.width) - 1) - x, vec4(chain.flipped)) + chain.left;
  let row = y + chain.top;
  let there = areInside(column, row);
  let fours = (params.width + 3u) / 4u;
  // Rows of words are whole fours, as rows of bytes are.
  let at = select(vec4(0u), vec4<u32>(row) * (4u * fours) + vec4<u32>(column), there);
  var words = vec4(0u);
  if (PACKED || (AUGMENTS && chain.slot != STORED)) {
    let i = at + chain.base + plane * params.height * 4u * fours;
    if (AUGMENTS && chain.slot != STORED) {
      words = vec4(scratch[i.x], scratch[i.y], scratch[i.z], scratch[i.w]);
    } else {
      words = vec4(source[i.x], source[i.y], source[i.z], source[i.w]);
    }
  } else {
    for (var k = 0u; k < min(4u, CHANNELS - 4u * plane); k++) {
      words |= storedBytes(chain.base + (4u * plane + k) * params.height * fours, at) << vec4(8u * k);
    }
  }
  return select(vec4(0u), words, there);
}

// other + factor (byte - other), truncated and clamped. A number that only the host knows to be 0 stands between product and sum, so that no
// compiler makes one rounding of the two.
fn blend(byte: vec4<u32>, other: vec4<u32>, factor: u32) -> vec4<u32> {
  let product = select(params.above, params.below, factor == 1u) * (vec4<f32>(byte) - vec4<f32>(other));
  let rounded = bitcast<vec4<f32>>(bitcast<vec4<u32>>(product) ^ vec4(params.zero));
  return vec4<u32>(clamp(vec4<f32>(other) + rounded, vec4(0.0), vec4(255.0)));
}

// Pixels (x, y) blended with the mean of their neighbours by the filter (1 1 1, 1 5 1, 1 1 1) / 13, unchanged at the border.
fn sharpened(chain: Chain, plane: u32, x: vec4<i32>, y: vec4<i32>) -> vec4<u32> {
  let own = shifted(chain, plane, x, y);
  // Sums of two channels lie side by side in a word.
  let mask = vec4(0xff00ffu);
  var even = 4u * (own & mask);
  var odd = 4u * ((own >> vec4(8u)) & mask);
  for (var i = 0; i < 9; i++) {
    let near = shifted(chain, plane, x + i % 3 - 1, y + i / 3 - 1);
    even += near & mask;
    odd += (near >> vec4(8u)) & mask;
  }
  var out = vec4(0u);
  for (var k = 0u; k < min(4u, CHANNELS - 4u * plane); k++) {
    let sum = (select(even, odd, vec4(k % 2u == 1u)) >> vec4(8u * (k & 2u))) & vec4(0xffffu);
    let blurred = (2u * sum + vec4(13u)) / vec4(26u);
    out |= blend((own >> vec4(8u * k)) & vec4(255u), blurred, chain.sharp) << vec4(8u * k);
  }
  let border = (x == vec4(0)) | (y == vec4(0)) | (x + 1 >= vec4(i32(params.width))) | (y + 1 >= vec4(i32(params.height)));
  return select(out, own, border);
}

// Pixels (x, y) before the table.
fn fourOf(chain: Chain, plane: u32, x: vec4<i32>, y: vec4<i32>) -> PixelFour {
  if (AUGMENTS && chain.sharp > 0u) { return PixelFour(sharpened(chain, plane, x, y), vec4(0u)); }
  if (!AUGMENTS || chain.affines == 0u) { return PixelFour(shifted(chain, plane, x, y), vec4(0u)); }
  var px = x;
  var py = y;
  var outside = vec4(0u);
  if (chain.affines == 2u) {
    px = (chain.b.x0 + x * chain.b.xx + y * chain.b.yx) >> vec4(16u);
    py = (chain.b.y0 + x * chain.b.xy + y * chain.b.yy) >> vec4(16u);
    outside = select(vec4(257u), vec4(0u), areInside(px, py));
  }
  let qx = (chain.a.x0 + px * chain.a.xx + py * chain.a.yx) >> vec4(16u);
  let qy = (chain.a.y0 + px * chain.a.xy + py * chain.a.yy) >> vec4(16u);
  outside = select(outside, vec4(256u), (outside == vec4(0u)) & !areInside(qx, qy));
  return PixelFour(select(shifted(chain, plane, qx, qy), vec4(0u), outside > vec4(0u)), outside);
}

// Channel 4 plane + k of four pixels, through the table where there is one: bytes, or the bits of normalised values where the table holds
// these.
fn channelOf(chain: Chain, four: PixelFour, plane: u32, k: u32) -> vec4<u32> {
  let byte = (four.words >> vec4(8u * k)) & vec4(255u);
  if (!AUGMENTS || !chain.hasLut) { return byte; }
  let at = vec4(chain.lut + (4u * plane + k) * ENTRIES) + byte + four.outside;
  return vec4(scratch[at.x], scratch[at.y], scratch[at.z], scratch[at.w]);
}

// Rec. 601 luma, rounded in 16.16 fixed point.
fn luma(r: vec4<u32>, g: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
  return (r * 19595u + g * 38470u + b * 7471u + vec4(0x8000u)) >> vec4(16u);
}

// Counts a byte. @param at its word of `counts`
fn countByte(at: u32) {
  if (OWN_COUNTS) { atomicStore(&counts[at], atomicLoad(&counts[at]) + 1u); } else { atomicAdd(&counts[at], 1u); }
}

// Writes four normalised pixels of channel c, of which `there` are in the image. @param normal whether v are bits of values already
fn writeNormal(to: vec4<u32>, c: u32, v: vec4<u32>, there: vec4<bool>, normal: bool) {
  var bits = bitcast<vec4<i32>>(v);
  if (!normal) {
    let at = vec4(256u * c) + v;
    bits = vec4(tables[at.x], tables[at.y], tables[at.z], tables[at.w]);
  }
  let values = bitcast<vec4<f32>>(bits);
  images[to.x] = values.x;
  if (WHOLE || there.y) { images[to.y] = values.y; }
  if (WHOLE || there.z) { images[to.z] = values.z; }
  if (WHOLE || there.w) { images[to.w] = values.w; }
}

// Whether autoContrast's float64 comes out just below the whole number that byte becomes.
fn isException(low: u32, high: u32, byte: u32) -> bool {
  let wanted = i32((low << 16u) | (high << 8u) | byte);
  let list = affineTable() + 60u;
  var first = 0u;
  var end = params.exceptions;
  while (first < end) {
    let middle = (first + end) / 2u;
    if (tables[list + middle] < wanted) { first = middle + 1u; } else { end = middle; }
  }
  return first < params.exceptions && tables[list + first] == wanted;
}

fn affineTable() -> u32 {
  return 256u * CHANNELS;
}

fn affineOf(op: u32, sign: u32) -> Affine {
  let at = affineTable() + 6u * (2u * (op - 1u) + sign);
  return Affine(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u], tables[at + 4u], tables[at + 5u]);
}

// The byte that an operation makes of byte v of channel c, with the statistics of the image from word `own` of `counts` on.
fn mapped(op: u32, factor: u32, own: u32, c: u32, v: u32) -> u32 {
  switch op {
    case BRIGHTNESS: { return blend(vec4(v), vec4(0u), factor).x; }
    case CONTRAST: {
      let pixels = params.height * params.width * select(CHANNELS, 1u, CHANNELS == 3u);
      let sum = atomicLoad(&counts[own + HISTOGRAMS + 2u * CHANNELS]);
      return blend(vec4(v), vec4(sum / pixels + u32(2u * (sum % pixels) >= pixels)), factor).x;
    }
    case POSTERIZE: { return v & params.mask; }
    case SOLARIZE: { return select(v, 255u - v, v >= params.threshold); }
    case AUTO_CONTRAST: {
      let low = atomicLoad(&counts[own + HISTOGRAMS + c]);
      let high = atomicLoad(&counts[own + HISTOGRAMS + CHANNELS + c]);
      if (high <= low || v < low || v > high) { return v; }
      let stretched = (v - low) * 255u;
      let whole = stretched / (high - low);
      return whole - u32(whole > 0u && whole * (high - low) == stretched && isException(low, high, v));
    }
    default: { return atomicLoad(&counts[own + c * 256u + v]); }
  }
}

// Adds the copies of a channel's histogram, and turns the sums, in the copy from word `first` on, into the table of equalize.
fn equalizeCounts(first: u32) {
  var last = 0u;
  for (var v = first; v < first + 256u; v++) {
    var n = 0u;
    for (var copy = 0u; copy < COPIES; copy++) { n += atomicLoad(&counts[v + copy * CHANNELS * 256u]); }
    atomicStore(&counts[v], n);
    last = select(last, n, n > 0u);
  }
  let step = (params.height * params.width - last) / 255u;
  var sum = step / 2u;
  for (var v = 0u; v < 256u; v++) {
    let n = atomicLoad(&counts[first + v]);
    atomicStore(&counts[first + v], select(min(255u, sum / max(step, 1u)), v, step == 0u));
    sum += n;
  }
}

// The least bytes of four channels of those of four pixels that are there.
fn leastOf(v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, there: vec4<bool>) -> vec4<u32> {
  let m = select(vec4(255u), vec4(0u), there);
  let a = v0 | m;
  let b = v1 | m;
  let c = v2 | m;
  let d = v3 | m;
  return min(min(vec4(a.x, b.x, c.x, d.x), vec4(a.y, b.y, c.y, d.y)), min(vec4(a.z, b.z, c.z, d.z), vec4(a.w, b.w, c.w, d.w)));
}

// Their greatest bytes.
fn mostOf(v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, there: vec4<bool>) -> vec4<u32> {
  let no = vec4(255u);
  return no - leastOf(no - v0, no - v1, no - v2, no - v3, there);
}

// Changes the table of a chain for the operation behind it: maps the bytes, or clears the entry for the outside of an affine operation. The
// last change makes normalised values of the bytes, where no colour follows, so that a pixel is looked up once.
fn compose(chain: Chain, op: u32, factor: u32, isTable: bool, isAffine: bool, finishes: bool, own: u32, local: u32) {
  var i = local;
  var step = WORKGROUP;
  var end = CHANNELS * ENTRIES;
  if (op == EQUALIZE) {
    // A channel is the work of one thread.
    if (local >= CHANNELS) { return; }
    equalizeCounts(own + local * 256u);
    i = local * ENTRIES;
    step = 1u;
    end = i + ENTRIES;
  }
  for (; i < end; i += step) {
    let e = i % ENTRIES;
    let c = i / ENTRIES;
    var v = select(e, 0u, e > 255u);
    if (chain.hasLut) { v = scratch[chain.lut + i]; }
    if (isTable) { v = mapped(op, factor, own, c, v); }
    if (isAffine && e == 256u + chain.affines) { v = 0u; }
    if (finishes) { v = bitcast<u32>(tables[c * 256u + v]); }
    scratch[chain.lut + i] = v;
  }
}

// Where a walk puts pixels: words from `target0` on, values of image b, or statistics at word `own` of `counts`.
struct Sink { what: u32, target0: u32, b: u32, own: u32, normal: bool }

// Visits all pixels of a plane of a chain.
fn walk(chain: Chain, sink: Sink, plane: u32, thread: u32, threads: u32) {
  let channels = min(4u, CHANNELS - 4u * plane);
  let fours = (params.width + 3u) / 4u;
  let copy = sink.own + thread % COPIES * CHANNELS * 256u;
  let colored = AUGMENTS && CHANNELS == 3u && chain.color > 0u;
  let stepX = threads % fours;
  let stepY = threads / fours;
  var sum = 0u;
  var least = vec4(255u);
  var most = vec4(0u);
  var four0 = thread % fours;
  for (var y = thread / fours; y < params.height;) {
    // Columns past the end are read as if they were there.
    let x = vec4(four0) + fours * vec4(0u, 1u, 2u, 3u);
    let there = x < vec4(params.width);
    let four = fourOf(chain, plane, vec4<i32>(x), vec4(i32(y)));
    var v0 = channelOf(chain, four, plane, 0u);
    var v1 = vec4(0u);
    var v2 = vec4(0u);
    var v3 = vec4(0u);
    if (channels > 1u) { v1 = channelOf(chain, four, plane, 1u); }
    if (channels > 2u) { v2 = channelOf(chain, four, plane, 2u); }
    if (channels > 3u) { v3 = channelOf(chain, four, plane, 3u); }
    if (colored) {
      let gray = luma(v0, v1, v2);
      v0 = blend(v0, gray, chain.color);
      v1 = blend(v1, gray, chain.color);
      v2 = blend(v2, gray, chain.color);
    }
    if (!AUGMENTS || sink.what == RESULT) {
      let size = params.height * params.width;
      let c = 4u * plane;
      let to = (sink.b * CHANNELS + c) * size + y * params.width + x;
      writeNormal(to, c, v0, there, sink.normal);
      if (channels > 1u) { writeNormal(to + size, c + 1u, v1, there, sink.normal); }
      if (channels > 2u) { writeNormal(to + 2u * size, c + 2u, v2, there, sink.normal); }
      if (channels > 3u) { writeNormal(to + 3u * size, c + 3u, v3, there, sink.normal); }
    } else if (sink.what == PIXELS) {
      let to = sink.target0 + (plane * params.height + y) * 4u * fours + x;
      let words = v0 | (v1 << vec4(8u)) | (v2 << vec4(16u)) | (v3 << vec4(24u));
      scratch[to.x] = words.x;
      scratch[to.y] = words.y;
      scratch[to.z] = words.z;
      scratch[to.w] = words.w;
    } else if (sink.what == LUMA) {
      let gray = select(v0 + v1 + v2 + v3, luma(v0, v1, v2), vec4(CHANNELS == 3u));
      sum += dot(gray, vec4<u32>(there));
    } else if (sink.what == RANGE) {
      least = min(least, leastOf(v0, v1, v2, v3, there));
      most = max(most, mostOf(v0, v1, v2, v3, there));
    } else {
      for (var i = 0u; i < 4u; i++) {
        if (WHOLE || there[i]) {
          let at = copy + 1024u * plane;
          countByte(at + v0[i]);
          if (channels > 1u) { countByte(at + 256u + v1[i]); }
          if (channels > 2u) { countByte(at + 512u + v2[i]); }
          if (channels > 3u) { countByte(at + 768u + v3[i]); }
        }
      }
    }
    four0 += stepX;
    y += stepY;
    if (four0 >= fours) {
      four0 -= fours;
      y++;
    }
  }
  if (!AUGMENTS) { return; }
  if (sink.what == LUMA) { atomicAdd(&counts[sink.own + HISTOGRAMS + 2u * CHANNELS], sum); }
  if (sink.what == RANGE) {
    for (var k = 0u; k < channels; k++) {
      let at = sink.own + HISTOGRAMS + 4u * plane + k;
      atomicMin(&counts[at], least[k]);
      atomicMax(&counts[at + CHANNELS], most[k]);
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let group = wid.y * groups.x + wid.x;
  let parts = groups.x * groups.y / params.count; // workgroups of an image
  let b = group / parts;
  if (b >= params.count) { return; }
  let thread = group % parts * WORKGROUP + local;
  let threads = parts * WORKGROUP;
  let sample = u32(rows[b * params.rowWords]);
  let epoch = u32(rows[b * params.rowWords + 1u]);
  let seed = vec2(params.seedLow, params.seedHigh);
  let slotWords = (CHANNELS + 3u) / 4u * params.height * ((params.width + 3u) / 4u * 4u);
  let slots = b * (params.slots * slotWords + CHANNELS * ENTRIES);
  let own = b * (HISTOGRAMS + 2u * CHANNELS + 1u);
  var chain: Chain;
  chain.slot = STORED;
  chain.base = params.start + select(sample, b, params.byRow == 1u) * params.stride;
  chain.lut = slots + params.slots * slotWords;
  // Words that are drawn: two of the crop, one of the flip, then two of each operation. A second place that calls philox would keep its keys
  // in registers between the two, which are more than an AMD GPU has.
  let cropWords = select(0u, 2u, params.cropPadding > 0u);
  let first = cropWords + params.flip;
  let end = first + 2u * min(params.operations, params.operation + 1u);
  var block = vec4(0u);
  var op = 0u;
  var what = NOTHING;
  var target0 = 0u;
  for (var drawn = 0u; drawn < end; drawn++) {
    if (drawn % 4u == 0u) { block = philox(vec4(drawn / 4u, sample, epoch, params.purpose), seed); }
    let word = block[drawn % 4u];
    if (drawn < cropWords) {
      let moves = i32(below(word, 2u * params.cropPadding + 1u)) - i32(params.cropPadding);
      if (drawn == 0u) { chain.top = moves; } else { chain.left = moves; }
      continue;
    }
    if (!AUGMENTS || drawn < first) {
      chain.flipped = word < 0x80000000u;
      continue;
    }
    let k = (drawn - first) / 2u;
    if ((drawn - first) % 2u == 0u) {
      op = below(word, END);
      continue;
    }
    let factor = 1u + u32(word >= 0x80000000u);
    let isAffine = op > 0u && op <= ROTATE;
    let isColor = op == COLOR && CHANNELS == 3u;
    let hasStatistics = op == CONTRAST || op == AUTO_CONTRAST || op == EQUALIZE;
    let isTable = op == BRIGHTNESS || op == POSTERIZE || op == SOLARIZE || hasStatistics;
    let changes = isAffine || isTable || isColor || op == SHARPNESS;
    let here = k == params.operation;
    // Whether the operation does not fit behind the chain, which becomes bytes first.
    let full = chain.color > 0u || (isAffine && (chain.sharp > 0u || chain.affines == 2u));
    let flush = changes && (full || (op == SHARPNESS && (chain.affines > 0u || chain.hasLut || chain.sharp > 0u)));
    let slot = select(0u, 1u, chain.slot == 0u);
    if (here && params.stage == FLUSH) {
      if (op == EQUALIZE) {
        for (var i = thread; i < HISTOGRAMS; i += threads) { atomicStore(&counts[own + i], 0u); }
      } else if (hasStatistics) {
        for (var i = thread; i <= 2u * CHANNELS; i += threads) { atomicStore(&counts[own + HISTOGRAMS + i], select(0u, 255u, i < CHANNELS)); }
      }
      if (flush) {
        what = PIXELS;
        target0 = slots + slot * slotWords;
      }
      break;
    }
    if (flush) {
      let lut = chain.lut;
      chain = Chain();
      chain.slot = slot;
      chain.base = slots + slot * slotWords;
      chain.lut = lut;
    }
    if (here && params.stage == STATISTICS) {
      if (hasStatistics) { what = select(select(HISTOGRAM, RANGE, op == AUTO_CONTRAST), LUMA, op == CONTRAST); }
      break;
    }
    if (here && params.stage == COMPOSE) {
      let finishes = k + 1u == params.operations && (chain.hasLut || isTable) && chain.color == 0u && !isColor;
      if (thread == local && (isTable || (isAffine && chain.hasLut) || finishes)) {
        compose(chain, op, factor, isTable, isAffine, finishes, own, local);
      }
      break;
    }
    if (isTable) { chain.hasLut = true; }
    if (isColor) { chain.color = factor; }
    if (op == SHARPNESS) { chain.sharp = factor; }
    if (isAffine) {
      if (chain.affines == 0u) { chain.a = affineOf(op, factor - 1u); } else { chain.b = affineOf(op, factor - 1u); }
      chain.affines += 1u;
    }
  }
  if (!AUGMENTS || params.stage == FINISH) { what = RESULT; }
  if (what == NOTHING) { return; }
  let sink = Sink(what, target0, b, own, chain.hasLut && chain.color == 0u);
  for (var plane = 0u; 4u * plane < CHANNELS; plane++) { walk(chain, sink, plane, thread, threads); }
}
