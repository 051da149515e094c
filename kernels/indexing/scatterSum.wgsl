// The second pass of a sum by index: adds every src[o, j, i] to the 64 bits of its target in fixed point. The largest magnitude of a target
// says where its point lies: `head` bits above it hold the carries of all addends. Integers add up to the same in whatever order threads
// run, so the sum is the same in every run (as reproducible summation, Demmel and Nguyen 2015).

// Whether rows have more than one element, and whether there is more than one line; else there is nothing to divide.
const WIDE: bool = true;
const LINES: bool = true;
// The indices of a thread.
const EACH: u32 = 1;

struct Params {
  outer: u32, n: u32, m: u32, inner: u32, indexOffset: u32, indexOuter: u32, indexStride: u32, indexInner: u32,
  shift: u32,
}

@group(0) @binding(0) var<storage, read> src: array<u32>; // [outer, m, inner]
@group(0) @binding(1) var<storage, read> index: array<i32>; // [outer, m, inner] by strides
@group(0) @binding(2) var<storage, read> largest: array<u32>; // [outer, n, inner]
@group(0) @binding(3) var<storage, read_write> sums: array<atomic<u32>>; // [outer, n, inner, 2]: low and high word, 0 at first
@group(1) @binding(0) var<uniform> params: Params;

fn addFixedOne(at: u32) {
  if (at >= params.outer * params.m * params.inner) { return; }
  var row = at;
  if (WIDE) { row = at / params.inner; }
  let i = at - row * params.inner;
  var o = 0u;
  if (LINES) { o = row / params.m; }
  let j = row - o * params.m;
  let k = u32(index[params.indexOffset + o * params.indexOuter + j * params.indexStride + i * params.indexInner]);
  if (k >= params.n) { return; }
  let slot = (o * params.n + k) * params.inner + i;
  let bits = src[at];
  let size = bits & 0x7fffffffu;
  if (size == 0u) { return; }
  let most = largest[slot];
  if (most >= 0x7f800000u) {
    // Infinities are kept as two flags, one for each sign; with NaN the sum is known.
    if (size == 0x7f800000u) { atomicOr(&sums[2u * slot], 1u << (bits >> 31u)); }
    return;
  }
  let exponent = max(size >> 23u, 1u);
  let mantissa = (size & 0x7fffffu) | select(0u, 0x800000u, size >= 0x800000u);
  // The bits that this mantissa is shifted to the left, and below 0 to the right.
  let shift = i32(params.shift) - i32(max(most >> 23u, 1u) - exponent);
  var low = 0u;
  var high = 0u;
  if (shift >= 32) {
    high = mantissa << u32(shift - 32);
  } else if (shift > 0) {
    low = mantissa << u32(shift);
    high = mantissa >> u32(32 - shift);
  } else if (shift == 0) {
    low = mantissa;
  } else if (shift > -25) {
    low = (mantissa + (1u << u32(-shift - 1))) >> u32(-shift);
  }
  if ((bits >> 31u) == 1u) {
    low = ~low + 1u;
    high = ~high + select(0u, 1u, low == 0u);
  }
  if (low != 0u) {
    let before = atomicAdd(&sums[2u * slot], low);
    if (before + low < low) { high += 1u; }
  }
  if (high != 0u) { atomicAdd(&sums[2u * slot + 1u], high); }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let first = (wid.y * groups.x + wid.x) * 64u * EACH + local;
  for (var e = 0u; e < EACH; e++) { addFixedOne(first + 64u * e); }
}
