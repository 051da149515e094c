// Makes a batch of images from stored bytes: picks the images, resizes them, pads and crops, flips, applies RandAugment (Cubuk et al., 2020,
// 1909.13719) and normalises. The bytes are those of hostImage.ts, with the same draws.
//
// All changes of an image are put together before any pixel is touched. A chain is a crop and flip, then sharpness or up to two affine
// operations, then a table of bytes, then colour; a pixel follows it backwards to stored bytes. Only where an operation does not fit behind
// the chain is the image written as bytes to scratch memory. Each dispatch does one stage for all images, and derives the chain of its image
// from the draws, so that no workgroup waits: on lavapipe a barrier doubles the time of all loops around it. Branches depend on the image's draws
// alone, and a workgroup works on one image, so that it takes one side of each.
const WORKGROUP: u32 = 8u;
const AUGMENTS: bool = true; // whether RandAugment may be asked for
const RESIZES: bool = true; // whether stored images have another size
const WHOLE: bool = false; // whether rows of pixels are whole words

// Entries of a channel's table: the bytes, then pixels outside of the first and of the second affine operation.
const ENTRIES: u32 = 258u;
// Where a chain begins: at the stored image, or in one of two slots of scratch memory.
const STORED: u32 = 2u;
// The result of a walk over the pixels.
const NOTHING: u32 = 0u;
const BYTES: u32 = 1u;
const LUMA: u32 = 2u;
const RANGE: u32 = 3u;
const HISTOGRAM: u32 = 4u;
const RESULT: u32 = 5u;
// Stages of a batch: two of resizing, three of each operation, and the last.
const COLUMNS: u32 = 0u;
const ROWS: u32 = 1u;
const FLUSH: u32 = 2u;
const STATISTICS: u32 = 3u;
const COMPOSE: u32 = 4u;
const FINISH: u32 = 5u;
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
  count: u32, channels: u32, height: u32, width: u32,
  sourceHeight: u32, sourceWidth: u32, // of stored images
  start: u32, stride: u32, // the first word of the first image in `bytes`, and words from image to image
  byRow: u32, // 1 where image b of the batch is image b of `bytes`, 0 where it is the image of its row's sample
  rowWords: u32, // from row to row
  slotWords: u32, // of a slot of scratch memory
  seedLow: u32, seedHigh: u32, purpose: u32,
  cropPadding: u32, flip: u32, operations: u32,
  mask: u32, threshold: u32, // of posterize and solarize
  exceptions: u32, // their number
  columnTaps: u32, rowTaps: u32, // weights of a resized pixel in each direction
}

// Rows of pixels are padded with zeros to whole words of 4 bytes, the first byte lowest.
@group(0) @binding(0) var<storage, read> bytes: array<u32>; // images [channels, sourceHeight, words of sourceWidth]
@group(0) @binding(1) var<storage, read> rows: array<i32>; // [count, rowWords]: sample, epoch, ...
// Values of bytes [channels, 256] as bits of f32. Of RandAugment the affine operations [5, 2 signs, 6], bits of the products of the blend
// factor and -255 to 255 [2 signs, 511], and the exceptions of autoContrast in ascending order. Of resizing the first pixel and the weights
// of columns [width], [width, taps], then those of rows.
@group(0) @binding(2) var<storage, read> tables: array<i32>;
@group(0) @binding(3) var<storage, read_write> scratch: array<u32>; // [count]: two slots, and the table [channels, ENTRIES]
// [count]: counts of bytes [channels, 256], least and most byte [channels] each, the sum of luma
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> images: array<f32>; // [count, channels, height, width]
@group(1) @binding(0) var<uniform> params: Params;

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

fn wordsOf(width: u32) -> u32 {
  return (width + 3u) / 4u;
}

fn unpack(word: u32) -> vec4<u32> {
  return (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u);
}

// The first `valid` bytes of a word, the others 0.
fn pack(b: vec4<u32>, valid: u32) -> u32 {
  let word = b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
  return select(word & ((1u << (8u * (valid & 3u))) - 1u), word, valid >= 4u);
}

fn storedWord(slot: u32, index: u32) -> u32 {
  if ((AUGMENTS || RESIZES) && slot != STORED) { return scratch[index]; }
  return bytes[index];
}

// Bytes x to x + 3 of the row that begins at word `row`, zeros outside of it.
fn fourFrom(slot: u32, row: u32, x: i32) -> u32 {
  let words = i32(wordsOf(params.width));
  let first = x >> 2u;
  let shift = u32(x & 3) * 8u;
  var low = 0u;
  if (first >= 0 && first < words) { low = storedWord(slot, row + u32(first)); }
  if (shift == 0u) { return low; }
  var high = 0u;
  if (first >= -1 && first < words - 1) { high = storedWord(slot, row + u32(first + 1)); }
  return (low >> shift) | (high << (32u - shift));
}

// Pixels x to x + 3 of row y after crop and flip, zeros outside of the image.
fn shifted(chain: Chain, plane: u32, y: u32, x: u32) -> vec4<u32> {
  let row = i32(y) + chain.top;
  if (row < 0 || row >= i32(params.height)) { return vec4(0u); }
  let at = plane + u32(row) * wordsOf(params.width);
  if (chain.flipped) { return unpack(fourFrom(chain.slot, at, i32(params.width) - 4 - i32(x) + chain.left)).wzyx; }
  return unpack(fourFrom(chain.slot, at, i32(x) + chain.left));
}

fn inside(x: vec4<i32>, y: vec4<i32>) -> vec4<bool> {
  return (vec4<u32>(x) < vec4(params.width)) & (vec4<u32>(y) < vec4(params.height));
}

// Where pixels x to x + 3 of row y come from: the byte in the plane, or -1 outside of the image, -2 and -3 outside of the first and of the
// second affine operation.
fn origins(chain: Chain, y: u32, x: u32) -> vec4<i32> {
  var m = chain.a;
  if (chain.affines == 2u) { m = chain.b; }
  let step = vec4(0, 1, 2, 3);
  var px = (vec4(m.x0 + i32(x) * m.xx + i32(y) * m.yx) + step * m.xx) >> vec4(16u);
  var py = (vec4(m.y0 + i32(x) * m.xy + i32(y) * m.yy) + step * m.xy) >> vec4(16u);
  var there = inside(px, py);
  var outside = vec4(-1 - i32(chain.affines));
  if (chain.affines == 2u) {
    let qx = (vec4(chain.a.x0) + px * chain.a.xx + py * chain.a.yx) >> vec4(16u);
    py = (vec4(chain.a.y0) + px * chain.a.xy + py * chain.a.yy) >> vec4(16u);
    px = qx;
    outside = select(outside, vec4(-2), there);
    there = there & inside(px, py);
  }
  if (chain.flipped) { px = vec4(i32(params.width) - 1) - px; }
  px += vec4(chain.left);
  py += vec4(chain.top);
  outside = select(outside, vec4(-1), there);
  return select(outside, py * i32(4u * wordsOf(params.width)) + px, there & inside(px, py));
}

fn byteAt(slot: u32, plane: u32, origin: i32) -> u32 {
  let at = u32(max(origin, 0));
  return (storedWord(slot, plane + at / 4u) >> (8u * (at % 4u))) & 255u;
}

// Entries of the table: the byte of each origin, or what stands for the outside.
fn entriesAt(slot: u32, plane: u32, origin: vec4<i32>) -> vec4<u32> {
  let found = vec4(byteAt(slot, plane, origin.x), byteAt(slot, plane, origin.y), byteAt(slot, plane, origin.z), byteAt(slot, plane, origin.w));
  return select(found, select(vec4<u32>(vec4(254) - origin), vec4(0u), origin == vec4(-1)), origin < vec4(0));
}

// other + factor (byte - other), truncated and clamped. The product comes from a table, so that its rounding is never left out.
fn blend(byte: vec4<u32>, other: vec4<u32>, factor: u32) -> vec4<u32> {
  let at = vec4(affineTable() + 60u + 511u * (factor - 1u) + 255u) + byte - other;
  let product = bitcast<vec4<f32>>(vec4(tables[at.x], tables[at.y], tables[at.z], tables[at.w]));
  return vec4<u32>(clamp(vec4<f32>(other) + product, vec4(0.0), vec4(255.0)));
}

// Pixel x of row y after crop and flip; x may lie outside.
fn shiftedByte(chain: Chain, plane: u32, y: u32, x: i32) -> u32 {
  if (x < 0 || x >= i32(params.width)) { return 0u; }
  let row = i32(y) + chain.top;
  let column = select(x, i32(params.width) - 1 - x, chain.flipped) + chain.left;
  if (row < 0 || row >= i32(params.height) || column < 0 || column >= i32(params.width)) { return 0u; }
  return byteAt(chain.slot, plane, row * i32(4u * wordsOf(params.width)) + column);
}

// Pixels x to x + 3 of row y blended with the mean of their neighbours by the filter (1 1 1, 1 5 1, 1 1 1) / 13, unchanged at the border.
fn sharpened(chain: Chain, plane: u32, y: u32, x: u32) -> vec4<u32> {
  var own = vec4(0u);
  if (y == 0u || y + 1u >= params.height) { return shifted(chain, plane, y, x); }
  var before = 0u;
  var column = vec4(0u);
  var after = 0u;
  for (var row = y - 1u; row <= y + 1u; row++) {
    let line = shifted(chain, plane, row, x);
    own = select(own, line, row == y);
    column += line;
    before += shiftedByte(chain, plane, row, i32(x) - 1);
    after += shiftedByte(chain, plane, row, i32(x) + 4);
  }
  let sum = 4u * own + column + vec4(before, column.xyz) + vec4(column.yzw, after);
  let blurred = (2u * sum + vec4(13u)) / vec4(26u);
  let border = (vec4(x) + vec4(0u, 1u, 2u, 3u) == vec4(0u)) | (vec4(x) + vec4(1u, 2u, 3u, 4u) >= vec4(params.width));
  return select(blend(own, blurred, chain.sharp), own, border);
}

// Whether the only affine operation moves each row as a whole, as translations and a shear along rows do.
fn movesRows(chain: Chain) -> bool {
  return chain.affines == 1u && chain.a.xx == 65536 && chain.a.xy == 0;
}

// Entries of pixels x to x + 3 of row y of an image whose rows are moved.
fn moved(chain: Chain, plane: u32, y: u32, x: u32) -> vec4<u32> {
  let column = i32(x) + ((chain.a.x0 + i32(y) * chain.a.yx) >> 16u);
  let line = (chain.a.y0 + i32(y) * chain.a.yy) >> 16u;
  let row = line + chain.top;
  var found = vec4(0u);
  if (u32(row) < params.height) {
    let at = plane + u32(row) * wordsOf(params.width);
    if (chain.flipped) {
      found = unpack(fourFrom(chain.slot, at, i32(params.width) - 4 - column + chain.left)).wzyx;
    } else {
      found = unpack(fourFrom(chain.slot, at, column + chain.left));
    }
  }
  return select(vec4(256u), found, inside(vec4(column) + vec4(0, 1, 2, 3), vec4(line)));
}

// Entries of channel c, through the table where there is one: bytes, or the bits of normalised values where the table holds these.
fn channel(chain: Chain, c: u32, y: u32, x: u32, origin: vec4<i32>) -> vec4<u32> {
  let plane = chain.base + c * params.height * wordsOf(params.width);
  if (!AUGMENTS) { return shifted(chain, plane, y, x); }
  var e = vec4(0u);
  if (movesRows(chain)) { e = moved(chain, plane, y, x); }
  else if (chain.affines > 0u) { e = entriesAt(chain.slot, plane, origin); }
  else if (chain.sharp > 0u) { e = sharpened(chain, plane, y, x); }
  else { e = shifted(chain, plane, y, x); }
  if (!chain.hasLut) { return select(e, vec4(0u), e > vec4(255u)); }
  let at = vec4(chain.lut + c * ENTRIES) + e;
  return vec4(scratch[at.x], scratch[at.y], scratch[at.z], scratch[at.w]);
}

// Rec. 601 luma, rounded in 16.16 fixed point.
fn luma(r: vec4<u32>, g: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
  return (r * 19595u + g * 38470u + b * 7471u + vec4(0x8000u)) >> vec4(16u);
}

// Counts the bytes of 4 pixels, of which `valid` are in the image, for the statistics of channel c from word `own` of `counts` on.
fn count(what: u32, own: u32, c: u32, v: vec4<u32>, valid: u32) {
  if (what == HISTOGRAM) {
    let first = own + c * 256u;
    atomicAdd(&counts[first + v.x], 1u);
    if (WHOLE || valid > 1u) { atomicAdd(&counts[first + v.y], 1u); }
    if (WHOLE || valid > 2u) { atomicAdd(&counts[first + v.z], 1u); }
    if (WHOLE || valid > 3u) { atomicAdd(&counts[first + v.w], 1u); }
  } else {
    let there = vec4(0u, 1u, 2u, 3u) < vec4(valid);
    let low = select(vec4(255u), v, there);
    let high = select(vec4(0u), v, there);
    let lowest = min(min(low.x, low.y), min(low.z, low.w));
    let highest = max(max(high.x, high.y), max(high.z, high.w));
    let least = own + params.channels * 256u + c;
    // A load is cheaper than an atomic that changes nothing.
    if (lowest < atomicLoad(&counts[least])) { atomicMin(&counts[least], lowest); }
    if (highest > atomicLoad(&counts[least + params.channels])) { atomicMax(&counts[least + params.channels], highest); }
  }
}

// Writes 4 normalised pixels from element `to` on. @param normal whether v are bits of values already
fn show(to: u32, c: u32, v: vec4<u32>, valid: u32, normal: bool) {
  var bits = bitcast<vec4<i32>>(v);
  if (!normal) {
    let at = vec4(c * 256u) + v;
    bits = vec4(tables[at.x], tables[at.y], tables[at.z], tables[at.w]);
  }
  let values = bitcast<vec4<f32>>(bits);
  images[to] = values.x;
  if (WHOLE || valid > 1u) { images[to + 1u] = values.y; }
  if (WHOLE || valid > 2u) { images[to + 2u] = values.z; }
  if (WHOLE || valid > 3u) { images[to + 3u] = values.w; }
}

// Whether autoContrast's float64 comes out just below the whole number that byte becomes.
fn isException(low: u32, high: u32, byte: u32) -> bool {
  let wanted = i32((low << 16u) | (high << 8u) | byte);
  let list = affineTable() + 60u + 1022u;
  var first = 0u;
  var end = params.exceptions;
  while (first < end) {
    let middle = (first + end) / 2u;
    if (tables[list + middle] < wanted) { first = middle + 1u; } else { end = middle; }
  }
  return first < params.exceptions && tables[list + first] == wanted;
}

fn affineTable() -> u32 {
  return 256u * params.channels;
}

fn resizeTable() -> u32 {
  return affineTable() + select(0u, 60u + 1022u + params.exceptions, params.operations > 0u);
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
      let pixels = params.height * params.width * select(params.channels, 1u, params.channels == 3u);
      let sum = atomicLoad(&counts[own + 258u * params.channels]);
      return blend(vec4(v), vec4(sum / pixels + u32(2u * (sum % pixels) >= pixels)), factor).x;
    }
    case POSTERIZE: { return v & params.mask; }
    case SOLARIZE: { return select(v, 255u - v, v >= params.threshold); }
    case AUTO_CONTRAST: {
      let low = atomicLoad(&counts[own + 256u * params.channels + c]);
      let high = atomicLoad(&counts[own + 257u * params.channels + c]);
      if (high <= low || v < low || v > high) { return v; }
      let stretched = (v - low) * 255u;
      let whole = stretched / (high - low);
      return whole - u32(whole > 0u && whole * (high - low) == stretched && isException(low, high, v));
    }
    default: { return atomicLoad(&counts[own + c * 256u + v]); }
  }
}

// Turns the counts of a channel, from word `first` on, into the table of equalize.
fn equalizeCounts(first: u32) {
  var last = 0u;
  for (var v = 0u; v < 256u; v++) {
    let n = atomicLoad(&counts[first + v]);
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

// Changes the table of a chain for the operation behind it: maps the bytes, or clears the entry for the outside of an affine operation. The
// last change makes normalised values of the bytes, where no colour follows, so that a pixel is looked up once.
fn compose(chain: Chain, op: u32, factor: u32, isTable: bool, isAffine: bool, finishes: bool, own: u32, local: u32) {
  var i = local;
  var step = WORKGROUP;
  var end = params.channels * ENTRIES;
  if (op == EQUALIZE) {
    // A channel is the work of one thread.
    if (local >= params.channels) { return; }
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

// Resizes the columns of a stored image into slot 1, as Pillow does: weights in 10.22 fixed point, and bytes between the passes.
fn resizeColumns(base: u32, slot: u32, thread: u32, threads: u32) {
  let words = wordsOf(params.width);
  let sourceWords = wordsOf(params.sourceWidth);
  let taps = params.columnTaps;
  let firsts = resizeTable();
  let weights = firsts + params.width;
  let lines = params.channels * params.sourceHeight;
  let quads = (lines + 3u) / 4u;
  let stepQuad = threads / words;
  let stepX = threads % words;
  var x = thread % words;
  for (var quad = thread / words; quad < quads;) {
    // A weight serves four lines at once.
    let line = min(vec4(4u * quad) + vec4(0u, 1u, 2u, 3u), vec4(lines - 1u));
    let source = vec4(base) + line * sourceWords;
    var out = vec4(0u);
    for (var j = 0u; j < min(4u, params.width - 4u * x); j++) {
      let column = 4u * x + j;
      let first = u32(tables[firsts + column]);
      var sum = vec4(1 << 21u);
      for (var k = 0u; k < taps; k++) {
        let at = source + vec4((first + k) / 4u);
        let four = vec4(bytes[at.x], bytes[at.y], bytes[at.z], bytes[at.w]);
        sum += tables[weights + column * taps + k] * vec4<i32>((four >> vec4(8u * ((first + k) % 4u))) & vec4(255u));
      }
      out |= vec4<u32>(clamp(sum >> vec4(22u), vec4(0), vec4(255))) << vec4(8u * j);
    }
    // The last lines may be one and the same.
    let to = vec4(slot + x) + line * words;
    scratch[to.x] = out.x;
    scratch[to.y] = out.y;
    scratch[to.z] = out.z;
    scratch[to.w] = out.w;
    x += stepX;
    quad += stepQuad;
    if (x >= words) {
      x -= words;
      quad += 1u;
    }
  }
}

// Resizes the rows of slot 1 into slot 0.
fn resizeRows(slot: u32, thread: u32, threads: u32) {
  let words = wordsOf(params.width);
  let taps = params.rowTaps;
  let firsts = resizeTable() + params.width * (1u + params.columnTaps);
  let weights = firsts + params.height;
  for (var c = 0u; c < params.channels; c++) {
    let source = slot + params.slotWords + c * params.sourceHeight * words;
    let target0 = slot + c * params.height * words;
    let pairs = (words + 1u) / 2u;
    let stepY = threads / pairs;
    let stepPair = threads % pairs;
    var pair = thread % pairs;
    for (var y = thread / pairs; y < params.height;) {
      // A weight serves two words at once. The last two may be one and the same.
      let x = min(vec2(2u * pair) + vec2(0u, 1u), vec2(words - 1u));
      var at = vec2(source + u32(tables[firsts + y]) * words) + x;
      var left = vec4(1 << 21u);
      var right = left;
      for (var k = y * taps; k < y * taps + taps; k++) {
        let weight = tables[weights + k];
        left += weight * vec4<i32>(unpack(scratch[at.x]));
        right += weight * vec4<i32>(unpack(scratch[at.y]));
        at += vec2(words);
      }
      let to = vec2(target0 + y * words) + x;
      scratch[to.x] = pack(vec4<u32>(clamp(left >> vec4(22u), vec4(0), vec4(255))), 4u);
      scratch[to.y] = pack(vec4<u32>(clamp(right >> vec4(22u), vec4(0), vec4(255))), 4u);
      pair += stepPair;
      y += stepY;
      if (pair >= pairs) {
        pair -= pairs;
        y += 1u;
      }
    }
  }
}

// Where a walk puts four pixels: bytes at words from `target0` on, values of image b, or statistics at word `own` of `counts`.
struct Sink { what: u32, target0: u32, b: u32, own: u32, normal: bool }

fn put(sink: Sink, c: u32, y: u32, x: u32, v: vec4<u32>, valid: u32) {
  let line = c * params.height + y;
  if (!AUGMENTS || sink.what == RESULT) {
    show((sink.b * params.channels * params.height + line) * params.width + 4u * x, c, v, valid, sink.normal);
  } else if (sink.what == BYTES) {
    scratch[sink.target0 + line * wordsOf(params.width) + x] = pack(v, valid);
  } else {
    count(sink.what, sink.own, c, v, valid);
  }
}

// Visits all pixels of a chain, four at a time.
fn walk(chain: Chain, sink: Sink, thread: u32, threads: u32) {
  let words = wordsOf(params.width);
  let stepX = threads % words;
  let stepY = threads / words;
  let colored = AUGMENTS && chain.color > 0u;
  // Luma and colour need all three channels of a pixel.
  let together = colored || (AUGMENTS && sink.what == LUMA && params.channels == 3u);
  var sum = 0u;
  var x = thread % words;
  for (var y = thread / words; y < params.height;) {
    let valid = select(min(4u, params.width - 4u * x), 4u, WHOLE);
    var origin = vec4(0);
    if (AUGMENTS && chain.affines > 0u && !movesRows(chain)) { origin = origins(chain, y, 4u * x); }
    var red = vec4(0u);
    var green = vec4(0u);
    var blue = vec4(0u);
    for (var c = 0u; c < params.channels; c++) {
      let v = channel(chain, c, y, 4u * x, origin);
      if (together) {
        red = select(red, v, c == 0u);
        green = select(green, v, c == 1u);
        blue = v;
      } else if (AUGMENTS && sink.what == LUMA) {
        sum += sumOfValid(v, valid);
      } else {
        put(sink, c, y, x, v, valid);
      }
    }
    if (together) {
      let gray = luma(red, green, blue);
      if (sink.what == LUMA) {
        sum += sumOfValid(gray, valid);
      } else {
        for (var c = 0u; c < params.channels; c++) {
          put(sink, c, y, x, blend(select(select(blue, green, c == 1u), red, c == 0u), gray, chain.color), valid);
        }
      }
    }
    x += stepX;
    y += stepY;
    if (x >= words) {
      x -= words;
      y += 1u;
    }
  }
  if (AUGMENTS && sink.what == LUMA) { atomicAdd(&counts[sink.own + 258u * params.channels], sum); }
}

// The sum of the first `valid` of four bytes.
fn sumOfValid(v: vec4<u32>, valid: u32) -> u32 {
  return dot(v, vec4<u32>(vec4(0u, 1u, 2u, 3u) < vec4(valid)));
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
  let slots = b * (2u * params.slotWords + select(0u, params.channels * ENTRIES, AUGMENTS));
  let own = b * (258u * params.channels + 1u);
  var chain: Chain;
  chain.slot = STORED;
  chain.base = params.start + select(sample, b, params.byRow == 1u) * params.stride;
  chain.lut = slots + 2u * params.slotWords;
  if (RESIZES) {
    if (params.stage == COLUMNS) { resizeColumns(chain.base, slots + params.slotWords, thread, threads); return; }
    if (params.stage == ROWS) { resizeRows(slots, thread, threads); return; }
    chain.slot = 0u;
    chain.base = slots;
  }
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
    let isColor = op == COLOR && params.channels == 3u;
    let hasStatistics = op == CONTRAST || op == AUTO_CONTRAST || op == EQUALIZE;
    let isTable = op == BRIGHTNESS || op == POSTERIZE || op == SOLARIZE || hasStatistics;
    let changes = isAffine || isTable || isColor || op == SHARPNESS;
    let here = k == params.operation;
    // Whether the operation does not fit behind the chain, which becomes bytes first.
    let full = chain.color > 0u || (isAffine && (chain.sharp > 0u || chain.affines == 2u));
    let flush = changes && (full || (op == SHARPNESS && (chain.affines > 0u || chain.hasLut || chain.sharp > 0u)));
    let slot = select(0u, 1u, chain.slot == 0u);
    if (here && params.stage == FLUSH) {
      if (hasStatistics) {
        for (var i = thread; i <= 258u * params.channels; i += threads) {
          let isLeast = i >= 256u * params.channels && i < 257u * params.channels;
          atomicStore(&counts[own + i], select(0u, 255u, isLeast));
        }
      }
      if (flush) {
        what = BYTES;
        target0 = slots + slot * params.slotWords;
      }
      break;
    }
    if (flush) {
      let lut = chain.lut;
      chain = Chain();
      chain.slot = slot;
      chain.base = slots + slot * params.slotWords;
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
  if (what != NOTHING) { walk(chain, Sink(what, target0, b, own, chain.hasLut && chain.color == 0u), thread, threads); }
}
