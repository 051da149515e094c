// The last pass of a sum by index: output = x plus the sums in fixed point, which are rounded to float32 once, ties to even.

// Whether x is added; else it is not read.
const ADD: bool = true;

struct Params { count: u32, shift: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> largest: array<u32>; // [count]
@group(0) @binding(2) var<storage, read> sums: array<vec2u>; // [count]: low and high word
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The bits of the float32 nearest to a positive number of 64 bits in units of 2^(scale - 150).
fn roundedBits(low: u32, high: u32, scale: i32) -> u32 {
  let top = select(i32(firstLeadingBit(low)), 32 + i32(firstLeadingBit(high)), high != 0u);
  // The exponent of the result, and how many bits it drops. A subnormal result drops more.
  let exponent = top - 23 + scale;
  let drop = top - 23 + max(1 - exponent, 0);
  if (exponent >= 255) { return 0x7f800000u; }
  if (drop > 60) { return 0u; }
  var kept = 0u;
  if (drop <= 0) {
    kept = low << u32(-drop);
  } else {
    let half = u32(drop - 1);
    var twice = 0u; // the kept bits and the first dropped one
    var rest = 0u; // not 0 where a lower bit is set
    if (half >= 32u) {
      twice = high >> (half - 32u);
      rest = low | (high & ((1u << (half - 32u)) - 1u));
    } else if (half > 0u) {
      twice = (low >> half) | (high << (32u - half));
      rest = low & ((1u << half) - 1u);
    } else {
      twice = low;
    }
    kept = twice >> 1u;
    if ((twice & 1u) == 1u && (rest != 0u || (kept & 1u) == 1u)) { kept += 1u; }
  }
  // A normal number has its leading bit in place of one in the exponent; a carry goes on into the exponent as it should.
  return min(select(kept, (u32(exponent - 1) << 23u) + kept, exponent > 0), 0x7f800000u);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let at = (wid.y * groups.x + wid.x) * 64u + local;
  if (at >= params.count) { return; }
  let most = largest[at];
  var low = sums[at].x;
  var high = sums[at].y;
  var bits = 0u;
  if (most > 0x7f800000u || (most == 0x7f800000u && low == 3u)) {
    bits = 0x7fc00000u;
  } else if (most == 0x7f800000u) {
    bits = select(0x7f800000u, 0xff800000u, low == 2u);
  } else if ((low | high) != 0u) {
    let negative = (high >> 31u) == 1u;
    if (negative) {
      low = ~low + 1u;
      high = ~high + select(0u, 1u, low == 0u);
    }
    bits = roundedBits(low, high, i32(max(most >> 23u, 1u)) - i32(params.shift));
    if (negative) { bits |= 0x80000000u; }
  }
  var total = bitcast<f32>(bits);
  // Where nothing is added, x stays as it is, -0 too.
  if (ADD) { total = select(x[at] + total, x[at], most == 0u); }
  output[at] = total;
}
