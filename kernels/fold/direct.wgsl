// Norms, moments, sums of exponentials, products and truth values along the middle axis of [outer, n, inner]. A thread takes one output:
// blocks of 32 elements are reduced to states, with two reads of a block where it needs its mean or its maximum first, and states are merged.
// A piece has at most 48 blocks, which keeps rounding small.

// The type of states and results: f32, or i32 for truth values and products of integers.
alias Scalar = f32;
const OP: u32 = 0u;
const NORM: u32 = 0u;
const MOMENTS: u32 = 1u;
const LOG_SUM_EXP: u32 = 2u;
const PRODUCT: u32 = 3u;
const ANY: u32 = 4u;
const ALL: u32 = 5u;
alias Input = f32;
// The type that elements are computed in: f32, or i32 for int32.
alias Wide = f32;
const FLOAT: bool = true;
// The flags of a problem: whether the result is the state of a piece, which another pass merges; whether the root of a variance is taken; and
// whether a variance has no divisor, which makes it infinite or NaN.
const PARTIAL: u32 = 1u;
const ROOT: u32 = 2u;
const DEGENERATE: u32 = 4u;
const WORKGROUP: u32 = 64u;

struct Params {
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, flags: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Input>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> values: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> extras: array<Scalar>; // [outer, chunks, inner], of some ops alone
@group(1) @binding(0) var<uniform> params: Params;

// The state to which some elements are reduced. x and y are: the sum of squares; the mean and the sum of squared deviations; the largest number, within
// those of float32, and the sum of exponentials less it; the product of all but zeros, and the number of zeros (2 for more), plus 4 where
// an element is not finite; or a truth value.
struct State { n: f32, x: Scalar, y: Scalar }

fn emptyState() -> State {
  var lowest = 0xff7fffffu;
  if (OP == LOG_SUM_EXP) { return State(0.0, Scalar(bitcast<f32>(lowest)), Scalar()); }
  return State(0.0, select(Scalar(), Scalar(1), OP == PRODUCT || OP == ALL), Scalar());
}

// exp(x), exactly 1 at 0, where drivers may be off by a rounding, which would add up.
fn exponential(x: Scalar) -> Scalar {
  return select(Scalar(exp(f32(x))), Scalar(1), x == Scalar());
}

// The state of all elements of a and b. Moments are merged as by Chan, Golub and LeVeque (1979).
fn mergedState(a: State, b: State) -> State {
  let n = a.n + b.n;
  switch (OP) {
    case MOMENTS: {
      if (a.n == 0.0) { return b; }
      if (b.n == 0.0) { return a; }
      let delta = b.x - a.x;
      let part = b.n / n;
      return State(n, a.x + delta * Scalar(part), a.y + b.y + delta * delta * Scalar(a.n * part));
    }
    case LOG_SUM_EXP: {
      let largest = max(a.x, b.x);
      return State(n, largest, a.y * exponential(a.x - largest) + b.y * exponential(b.x - largest));
    }
    case PRODUCT: {
      let zeros = min((i32(a.y) & 3) + (i32(b.y) & 3), 2);
      return State(n, a.x * b.x, Scalar(zeros | ((i32(a.y) | i32(b.y)) & 4)));
    }
    case ANY: { return State(n, max(a.x, b.x), Scalar()); }
    case ALL: { return State(n, min(a.x, b.x), Scalar()); }
    default: { return State(n, a.x + b.x, Scalar()); }
  }
}

// The state of `count` elements, at most 32, from `first` on. Moments are of the elements less `shift`, one of them, which keeps the digits
// of elements that lie close together and far from 0.
fn blockState(first: u32, step: u32, count: u32, shift: Scalar) -> State {
  var block = emptyState();
  block.n = f32(count);
  if (OP == MOMENTS) {
    var sum = Scalar();
    for (var k = 0u; k < count; k++) { sum += Scalar(input[first + k * step]) - shift; }
    block.x = sum / Scalar(block.n);
    for (var k = 0u; k < count; k++) {
      let off = Scalar(input[first + k * step]) - shift - block.x;
      block.y += off * off;
    }
    return block;
  }
  if (OP == LOG_SUM_EXP) {
    var highest = 0x7f7fffffu;
    for (var k = 0u; k < count; k++) { block.x = max(block.x, Scalar(input[first + k * step])); }
    block.x = min(block.x, Scalar(bitcast<f32>(highest)));
    // Drivers differ on exponentials of NaN, and compilers may assume that there is none.
    var nan = 0x7fc00000u;
    var spoilt = false;
    for (var k = 0u; k < count; k++) {
      let value = Scalar(input[first + k * step]);
      spoilt = spoilt || (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
      block.y += exponential(value - block.x);
    }
    block.y = select(block.y, Scalar(bitcast<f32>(nan)), spoilt);
    return block;
  }
  var zeros = 0;
  var odd = 0;
  for (var k = 0u; k < count; k++) {
    let value = Wide(input[first + k * step]);
    // Tests are of the bits because compilers may assume that floats are finite.
    let size = bitcast<u32>(value) & select(0xffffffffu, 0x7fffffffu, FLOAT);
    switch (OP) {
      case PRODUCT: {
        if (size == 0u) { zeros++; } else { block.x *= Scalar(value); }
        if (FLOAT && size >= 0x7f800000u) { odd = 4; }
      }
      case ANY: { block.x = max(block.x, select(Scalar(), Scalar(1), size != 0u)); }
      case ALL: { block.x = min(block.x, select(Scalar(), Scalar(1), size != 0u)); }
      default: { block.x += Scalar(value) * Scalar(value); }
    }
  }
  if (OP == PRODUCT) { block.y = Scalar(min(zeros, 2) | odd); }
  return block;
}

// The result of all elements.
fn resultOf(state: State) -> Scalar {
  var nan = 0x7fc00000u; // Variables, because a constant expression may be neither NaN nor infinite.
  var infinity = 0x7f800000u;
  switch (OP) {
    case NORM: { return Scalar(sqrt(f32(state.x))); }
    case MOMENTS: {
      var variance = state.y * Scalar(params.scale);
      if ((params.flags & DEGENERATE) != 0u) {
        let finite = (bitcast<u32>(f32(state.y)) & 0x7fffffffu) - 1u < 0x7f7fffffu;
        variance = select(Scalar(bitcast<f32>(nan)), Scalar(bitcast<f32>(infinity)), finite);
      }
      return select(variance, Scalar(sqrt(f32(variance))), (params.flags & ROOT) != 0u);
    }
    case LOG_SUM_EXP: {
      let spoilt = (bitcast<u32>(f32(state.y)) & 0x7fffffffu) > 0x7f800000u;
      return select(state.x + Scalar(log(f32(state.y))), Scalar(bitcast<f32>(nan)), spoilt);
    }
    case PRODUCT: {
      let zeros = i32(state.y);
      return select(select(state.x, Scalar(), zeros > 0), Scalar(bitcast<f32>(nan)), zeros > 4);
    }
    default: { return state.x; }
  }
}

// The number that the gradient needs besides the result: the mean, or the product of all other elements for an element that is 0.
fn extraOf(state: State) -> Scalar {
  if (OP == PRODUCT) { return select(state.x, Scalar(), (i32(state.y) & 3) > 1); }
  return state.x;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * WORKGROUP + local;
  if (index >= params.outer * params.chunks * params.inner) { return; }
  let piece = index / params.inner;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let start = params.offset + row * params.outerStride + (index % params.inner) * params.innerStride;
  let shift = Scalar(input[start + first * params.nStride]);
  var state = emptyState();
  for (var k = first; k < last; k += 32u) {
    state = mergedState(state, blockState(start + k * params.nStride, params.nStride, min(32u, last - k), shift));
  }
  if (OP == MOMENTS) { state.x += shift; }
  if ((params.flags & PARTIAL) != 0u) {
    values[index] = state.x;
    extras[index] = state.y;
  } else {
    values[index] = resultOf(state);
    if (OP == MOMENTS || OP == PRODUCT) { extras[index] = extraOf(state); }
  }
}
