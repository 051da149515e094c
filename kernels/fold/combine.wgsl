// A further pass of a reduction in pieces: each `group` neighbours of their states [outer, chunks, inner] are merged. The last pass makes
// the results.

// The type of states and results: f32, or i32 for truth values and products of integers.
alias Scalar = f32;
const OP: u32 = 0u;
const NORM: u32 = 0u;
const MOMENTS: u32 = 1u;
const LOG_SUM_EXP: u32 = 2u;
const PRODUCT: u32 = 3u;
const ANY: u32 = 4u;
const ALL: u32 = 5u;
// The flags of a problem: whether the result is the state of a piece, which another pass merges; whether the root of a variance is taken; and
// whether a variance has no divisor, which makes it infinite or NaN.
const PARTIAL: u32 = 1u;
const ROOT: u32 = 2u;
const DEGENERATE: u32 = 4u;

struct Params { outer: u32, n: u32, inner: u32, chunk: u32, chunks: u32, group: u32, flags: u32, scale: f32 }

@group(0) @binding(0) var<storage, read> pieceValues: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(1) var<storage, read> pieceExtras: array<Scalar>; // [outer, chunks, inner]
@group(0) @binding(2) var<storage, read_write> values: array<Scalar>; // [outer, ceil(chunks / group), inner]
@group(0) @binding(3) var<storage, read_write> extras: array<Scalar>; // as values, of some ops alone
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

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let index = (wid.y * groups.x + wid.x) * 64u + local;
  let made = (params.chunks + params.group - 1u) / params.group;
  if (index >= params.outer * made * params.inner) { return; }
  let place = index / params.inner;
  let row = place / made;
  let first = (place - row * made) * params.group;
  var state = emptyState();
  for (var c = first; c < min(first + params.group, params.chunks); c++) {
    let at = (row * params.chunks + c) * params.inner + index % params.inner;
    let count = min(params.chunk, params.n - c * params.chunk);
    state = mergedState(state, State(f32(count), pieceValues[at], pieceExtras[at]));
  }
  if ((params.flags & PARTIAL) != 0u) {
    values[index] = state.x;
    extras[index] = state.y;
  } else {
    values[index] = resultOf(state);
    if (OP == MOMENTS || OP == PRODUCT) { extras[index] = extraOf(state); }
  }
}
