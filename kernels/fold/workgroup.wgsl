// Norms, moments, sums of exponentials, products and truth values along the middle axis of [outer, n, inner]. A workgroup takes COLUMNS
// outputs with LANES threads each. A thread reduces at most 48 blocks of 32 elements to states and merges them; the states of the
// threads are merged by a tree in workgroup memory.

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
const COLUMNS: u32 = 1u;
const LANES: u32 = 256u;
// The elements that are loaded at once, and their type: four where the elements of an output are neighbours and come in fours.
const VEC: u32 = 1u;
alias Element = Input;

struct Params {
  outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, offset: u32, outerStride: u32,
  nStride: u32, innerStride: u32, flags: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> input: array<Element>; // [outer, n, inner] by strides
@group(0) @binding(1) var<storage, read_write> values: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> extras: array<Scalar>; // [outer, chunks, inner], of some ops alone
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> counts: array<f32, COLUMNS * LANES>;
var<workgroup> xs: array<Scalar, COLUMNS * LANES>;
var<workgroup> ys: array<Scalar, COLUMNS * LANES>;

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

// The state of `count` Elements, at most 32 numbers, from `first` on. Moments are of the elements less `shift`, one of them, which keeps the digits
// of elements that lie close together and far from 0.
fn elementsState(first: u32, step: u32, count: u32, shift: Scalar) -> State {
  var block = emptyState();
  block.n = f32(count * VEC);
  if (OP == MOMENTS) {
    var sum = Scalar();
    for (var k = 0u; k < count; k++) {
      let four = vec4<Input>(input[first + k * step]);
      for (var s = 0u; s < VEC; s++) { sum += Scalar(four[s]) - shift; }
    }
    block.x = sum / Scalar(block.n);
    for (var k = 0u; k < count; k++) {
      let four = vec4<Input>(input[first + k * step]);
      for (var s = 0u; s < VEC; s++) {
        let off = Scalar(four[s]) - shift - block.x;
        block.y += off * off;
      }
    }
    return block;
  }
  if (OP == LOG_SUM_EXP) {
    var highest = 0x7f7fffffu;
    for (var k = 0u; k < count; k++) {
      let four = vec4<Input>(input[first + k * step]);
      for (var s = 0u; s < VEC; s++) { block.x = max(block.x, Scalar(four[s])); }
    }
    block.x = min(block.x, Scalar(bitcast<f32>(highest)));
    // Drivers differ on exponentials of NaN, and compilers may assume that there is none.
    var nan = 0x7fc00000u;
    var spoilt = false;
    for (var k = 0u; k < count; k++) {
      let four = vec4<Input>(input[first + k * step]);
      for (var s = 0u; s < VEC; s++) {
        let value = Scalar(four[s]);
        spoilt = spoilt || (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
        block.y += exponential(value - block.x);
      }
    }
    block.y = select(block.y, Scalar(bitcast<f32>(nan)), spoilt);
    return block;
  }
  var zeros = 0;
  var odd = 0;
  for (var k = 0u; k < count; k++) {
    let four = vec4<Input>(input[first + k * step]);
    for (var s = 0u; s < VEC; s++) {
      let value = Wide(four[s]);
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

@compute @workgroup_size(COLUMNS, LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = wid.y * groups.x + wid.x;
  let tiles = (params.inner + COLUMNS - 1u) / COLUMNS;
  if (group >= params.outer * params.chunks * tiles) { return; }
  let piece = group / tiles;
  let row = piece / params.chunks;
  let first = (piece % params.chunks) * params.chunk;
  let last = min(first + params.chunk, params.n);
  let column = (group % tiles) * COLUMNS + local.x;
  // A column past the last one reads the last one, and writes nothing.
  let start = params.offset + row * params.outerStride + min(column, params.inner - 1u) * params.innerStride;

  let shift = Scalar(vec4<Input>(input[(start + first * params.nStride) / VEC]).x);
  var own = emptyState();
  if (column < params.inner) {
    for (var k = first + local.y * VEC; k < last; k += 32u * LANES) {
      let count = min(32u / VEC, (last - k + LANES * VEC - 1u) / (LANES * VEC));
      own = mergedState(own, elementsState((start + k * params.nStride) / VEC, LANES * params.nStride, count, shift));
    }
  }
  let slot = local.y * COLUMNS + local.x;
  counts[slot] = own.n;
  xs[slot] = own.x;
  ys[slot] = own.y;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) {
      let other = slot + half * COLUMNS;
      let both = mergedState(State(counts[slot], xs[slot], ys[slot]), State(counts[other], xs[other], ys[other]));
      counts[slot] = both.n;
      xs[slot] = both.x;
      ys[slot] = both.y;
    }
  }
  if (local.y == 0u && column < params.inner) {
    var state = State(counts[slot], xs[slot], ys[slot]);
    if (OP == MOMENTS) { state.x += shift; }
    let at = piece * params.inner + column;
    if ((params.flags & PARTIAL) != 0u) {
      values[at] = state.x;
      extras[at] = state.y;
    } else {
      values[at] = resultOf(state);
      if (OP == MOMENTS || OP == PRODUCT) { extras[at] = extraOf(state); }
    }
  }
}
