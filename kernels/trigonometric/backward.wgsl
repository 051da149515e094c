// out = grad cos(x), the gradient of sin, or -grad sin(x), that of cos, where `saved` is x. Workgroups share out as in
// elementwise/unary.wgsl.
alias Stored = f32;
const OP: u32 = 0u;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;

const SIN = 0u;

// The words of 2 / pi after its binary point, a word of zeros first.
const TWO_OVER_PI = array<u32, 7>(
  0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u,
);

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  count: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<vec4<Stored>>; // [count]
@group(0) @binding(1) var<storage, read> saved: array<vec4<Stored>>; // [count]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<Stored>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

// The product of two words of 32 bits, low word first.
fn wideProduct(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return vec2((second << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u));
}

// The 32 bits of 2 / pi from a place on.
fn bitsOfTwoOverPi(word: u32, shift: u32) -> u32 {
  let next = TWO_OVER_PI[min(word + 1u, 6u)];
  return select((TWO_OVER_PI[word] << shift) | (next >> (32u - shift)), TWO_OVER_PI[word], shift == 0u);
}

// The angle less the nearest multiple of pi / 2, and the number of that multiple mod 4, for an angle >= 1 of any size (Payne and
// Hanek, 1983): the bits of angle * 2 / pi above and below its binary point, in integers.
fn reduceFar(angle: f32) -> vec2<f32> {
  let bits = bitcast<u32>(angle);
  let mantissa = (bits << 8u) | 0x80000000u;
  let exponent = (bits >> 23u) - 126u;
  let word = exponent >> 5u;
  let shift = exponent & 31u;
  let low = wideProduct(mantissa, bitsOfTwoOverPi(word + 2u, shift)).y;
  let middle = wideProduct(mantissa, bitsOfTwoOverPi(word + 1u, shift));
  let rest = middle.x + low;
  var top = mantissa * bitsOfTwoOverPi(word, shift) + middle.y + select(0u, 1u, rest < low);
  let quarter = (top >> 30u) + ((top >> 29u) & 1u);
  // The fraction from -1/2 on, in units of 2^-32 and 2^-62.
  top = top << 2u;
  let fraction = f32(bitcast<i32>(top | (rest >> 30u))) * 2.3283064e-10 + f32(rest & 0x3fffffffu) * 2.1684043e-19;
  return vec2(fraction * 1.5707964, f32(quarter & 3u));
}

// The angles less the nearest multiples of pi / 2, for angles >= 0, and the numbers of those multiples mod 4. Up to 4096 three
// parts of pi / 2, whose products with the number are exact, are subtracted (Cody and Waite, 1980).
fn reduceAngle(angle: vec4<f32>, number: ptr<function, vec4<u32>>) -> vec4<f32> {
  let near = min(angle, vec4(4096.0));
  let multiple = round(near * 0.63661977);
  var reduced = ((near - multiple * 1.5703125) - multiple * 0.00048375129699707031) - multiple * 7.5497899e-8;
  *number = vec4<u32>(multiple) & vec4(3u);
  if (any(angle > vec4(4096.0))) {
    for (var j = 0u; j < 4u; j++) {
      if (angle[j] > 4096.0) {
        let far = reduceFar(angle[j]);
        reduced[j] = far.x;
        (*number)[j] = u32(far.y);
      }
    }
  }
  return reduced;
}

// sin(v), or the sine of v + pi / 2 for `quarters` 1. Drivers lose large angles, hence the reduction by hand; the polynomials are those
// of Cephes. Infinite angles and NaN give NaN.
fn sineOf(v: vec4<f32>, quarters: u32) -> vec4<f32> {
  var number: vec4<u32>;
  let bits = bitcast<vec4<u32>>(v);
  let r = reduceAngle(bitcast<vec4<f32>>(bits & vec4(0x7fffffffu)), &number);
  let s = r * r;
  let sine = r + r * s * (-0.16666655 + s * (0.0083321609 + s * -0.00019515296));
  let cosine = 1.0 - 0.5 * s + s * s * (0.041666646 + s * (-0.0013887316 + s * 0.000024433157));
  let places = number + quarters;
  let size = select(sine, cosine, (places & vec4(1u)) == vec4(1u));
  // The sine is odd and the cosine even.
  let sign = ((places & vec4(2u)) << vec4(30u)) ^ select(vec4(0u), bits & vec4(0x80000000u), quarters == 0u);
  let result = bitcast<vec4<u32>>(size) ^ sign;
  let endless = (bits & vec4(0x7fffffffu)) >= vec4(0x7f800000u);
  return bitcast<vec4<f32>>(select(result, bits | vec4(0x7fc00000u), endless));
}

fn applyTrigonometricBackward(g: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
  if (OP == SIN) { return g * sineOf(v, 1u); }
  return -(g * sineOf(v, 0u));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / 4u; // the first elements of this branch's operands
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    let v = vec4<Stored>(applyTrigonometricBackward(vec4<f32>(grad[own.x + i]), vec4<f32>(saved[own.y + i])));
    if (!TAIL || i < params.count / 4u) {
      out[own.z + i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { out[own.z + i][j] = v[j]; }
    }
  }
}
