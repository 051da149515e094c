// Picks a batch of images from stored bytes and resizes them as Pillow does: columns first, then rows, with weights in 10.22 fixed point and
// bytes between the passes. Each pass is a dispatch, so that no workgroup waits; on lavapipe a barrier doubles the time of the loops around it.
// A result is a word for each pixel, so that the kernel augment reads, moves and writes the channels of a pixel at once.
const WORKGROUP: u32 = 8u;
const CHANNELS: u32 = 3u;

const COLUMNS: u32 = 0u;
const ROWS: u32 = 1u;

struct Params {
  stage: u32, // COLUMNS or ROWS
  count: u32, height: u32, width: u32,
  sourceHeight: u32, sourceWidth: u32, // of stored images
  start: u32, stride: u32, // the first word of the first image in `bytes`, and words from image to image
  byRow: u32, // 1 where image b of the batch is image b of `bytes`, 0 where it is the image of its row's sample
  rowWords: u32, // from row to row
  columnTaps: u32, rowTaps: u32, // weights of a resized pixel in each direction
}

// Rows of pixels are padded with zeros to whole words of 4 bytes, the first byte lowest.
@group(0) @binding(0) var<storage, read> bytes: array<u32>; // images [CHANNELS, sourceHeight, words of sourceWidth]
@group(0) @binding(1) var<storage, read> rows: array<i32>; // [count, rowWords]: sample, ...
// The first pixel and the weights of columns [width], [width, taps], then those of rows.
@group(0) @binding(2) var<storage, read> filters: array<i32>;
// Words of up to 4 channels of a pixel, the first one lowest, in rows of whole fours of pixels, whose last ones repeat the last pixel.
@group(0) @binding(3) var<storage, read_write> columns: array<vec4<u32>>; // [count, planes, sourceHeight, fours of width]
@group(0) @binding(4) var<storage, read_write> pixels: array<vec4<u32>>; // [count, planes, height, fours of width]
@group(1) @binding(0) var<uniform> params: Params;

fn unpack(word: u32) -> vec4<u32> {
  return (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u);
}

// Rounds sums of weighted bytes, and packs those of the channels that a plane has.
fn packSums(sums: vec4<i32>, channels: u32) -> u32 {
  let b = min(vec4<u32>(sums) >> vec4(22u), vec4(255u));
  var word = b.x;
  if (channels > 1u) { word |= b.y << 8u; }
  if (channels > 2u) { word |= b.z << 16u; }
  if (channels > 3u) { word |= b.w << 24u; }
  return word;
}

// Byte `at` of plane c of a stored image, whose planes have `words` words each.
fn storedByte(base: u32, words: u32, c: u32, at: u32) -> i32 {
  return i32((bytes[base + c * words + at / 4u] >> (8u * (at % 4u))) & 255u);
}

// Resizes the columns of the plane of channels c to c + 3, from word `base` of `bytes` to `target0` of `columns`.
fn resizeColumns(base: u32, target0: u32, c: u32, thread: u32, threads: u32) {
  let fours = (params.width + 3u) / 4u;
  let rowBytes = 4u * ((params.sourceWidth + 3u) / 4u);
  let words = params.sourceHeight * rowBytes / 4u;
  let taps = params.columnTaps;
  let stepX = threads % fours;
  let stepY = threads / fours;
  var four = thread % fours;
  for (var y = thread / fours; y < params.sourceHeight;) {
    var out = vec4(0u);
    for (var j = 0u; j < 4u; j++) {
      let x = min(4u * four + j, params.width - 1u);
      var sums = vec4(1 << 21u);
      var at = y * rowBytes + u32(filters[x]);
      for (var k = params.width + x * taps; k < params.width + x * taps + taps; k++) {
        let weight = filters[k];
        sums.x += weight * storedByte(base, words, c, at);
        if (CHANNELS > c + 1u) { sums.y += weight * storedByte(base, words, c + 1u, at); }
        if (CHANNELS > c + 2u) { sums.z += weight * storedByte(base, words, c + 2u, at); }
        if (CHANNELS > c + 3u) { sums.w += weight * storedByte(base, words, c + 3u, at); }
        at++;
      }
      out = select(out, vec4(packSums(sums, CHANNELS - c)), vec4(j) == vec4(0u, 1u, 2u, 3u));
    }
    columns[target0 + y * fours + four] = out;
    four += stepX;
    y += stepY;
    if (four >= fours) {
      four -= fours;
      y++;
    }
  }
}

// Resizes the rows of the plane of channels c to c + 3, from four `first0` of `columns` to `target0` of `pixels`.
fn resizeRows(first0: u32, target0: u32, c: u32, thread: u32, threads: u32) {
  let fours = (params.width + 3u) / 4u;
  let taps = params.rowTaps;
  let firsts = params.width * (1u + params.columnTaps);
  let weights = firsts + params.height;
  let stepX = threads % fours;
  let stepY = threads / fours;
  var four = thread % fours;
  for (var y = thread / fours; y < params.height;) {
    var at = first0 + u32(filters[firsts + y]) * fours + four;
    // A weight serves four pixels.
    var s0 = vec4(1 << 21u);
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    for (var k = weights + y * taps; k < weights + y * taps + taps; k++) {
      let weight = filters[k];
      let words = columns[at];
      s0 += weight * vec4<i32>(unpack(words.x));
      s1 += weight * vec4<i32>(unpack(words.y));
      s2 += weight * vec4<i32>(unpack(words.z));
      s3 += weight * vec4<i32>(unpack(words.w));
      at += fours;
    }
    let channels = CHANNELS - c;
    pixels[target0 + y * fours + four] = vec4(packSums(s0, channels), packSums(s1, channels), packSums(s2, channels), packSums(s3, channels));
    four += stepX;
    y += stepY;
    if (four >= fours) {
      four -= fours;
      y++;
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
  let planes = (CHANNELS + 3u) / 4u;
  let image = select(u32(rows[b * params.rowWords]), b, params.byRow == 1u);
  for (var plane = 0u; plane < planes; plane++) {
    let fours = (params.width + 3u) / 4u;
    let between = (b * planes + plane) * params.sourceHeight * fours;
    if (params.stage == COLUMNS) {
      resizeColumns(params.start + image * params.stride, between, 4u * plane, thread, threads);
    } else {
      resizeRows(between, (b * planes + plane) * params.height * fours, 4u * plane, thread, threads);
    }
  }
}
