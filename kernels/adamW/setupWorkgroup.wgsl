// Decides what a step of an optimizer does: the norm of the gradient from the sums of squares of its pieces, the loss scale of the next
// step, the step counts, and the table of slots that its kernel reads. One workgroup does it, with a tree reduction in workgroup
// memory.

struct Params { pieces: u32, slots: u32, maxNorm: f32, growthInterval: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>; // [pieces]
// [slots]: learning rate; weight decay, below 0 where the slot is inactive; log(beta1) and log(beta2), or a number for the table and 1
// (decoupled decay) or 2 (coupled decay, and the number counts after the first step).
@group(0) @binding(1) var<storage, read> rules: array<vec4f>;
// [2]: the loss scale, and the number of finite steps in a row since it changed.
@group(0) @binding(2) var<storage, read_write> lossScale: array<f32>;
@group(0) @binding(3) var<storage, read_write> steps: array<i32>; // [slots]
// [slots]: step size, 1 / sqrt(1 - beta2^t) or the number, decay, and the factor of the gradient. A factor below 0 leaves the slot as
// it is.
@group(0) @binding(4) var<storage, read_write> slots: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> norm: array<f32>; // [1]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<f32, 256>;
var<workgroup> decided: f32;

// 1 - e^x for x <= 0, by its series near 0, where the difference loses all digits.
fn complement(x: f32) -> f32 {
  if (x < -0.3) { return 1.0 - exp(x); }
  return -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0))))));
}

// Advances the step count of a slot that takes part, and returns the slot's row of the table.
fn advance(slot: u32, factor: f32) -> vec4f {
  let rule = rules[slot];
  if (factor < 0.0 || rule.y < 0.0) { return vec4f(0.0, 0.0, 0.0, -1.0); }
  let t = steps[slot] + 1;
  steps[slot] = t;
  if (rule.w > 1.5) { return vec4f(rule.x, select(rule.z, 1.0, t == 1), rule.y, factor); }
  if (rule.w > 0.5) { return vec4f(rule.x, rule.z, rule.x * rule.y, factor); }
  let stepSize = rule.x / complement(f32(t) * rule.z);
  return vec4f(stepSize, inverseSqrt(complement(f32(t) * rule.w)), rule.x * rule.y, factor);
}

// Takes the sum of squares of scaled gradients and stores the norm and the next loss scale. Returns the factor of the gradient, or -1
// where the sum is not finite and nothing may change.
fn decide(total: f32) -> f32 {
  let scale = lossScale[0];
  let unscaled = sqrt(total) / scale;
  norm[0] = unscaled;
  // The test is of the bits because compilers may assume that a float is finite.
  let finite = (bitcast<u32>(total) & 0x7f800000u) != 0x7f800000u;
  if (params.growthInterval > 0) {
    let steady = select(0.0, lossScale[1] + 1.0, finite);
    // The reciprocal of the scale must stay a normal number. A scale below 1 has no use.
    let grows = steady == f32(params.growthInterval) && scale <= 0x1p125;
    let shrinks = !finite && scale >= 1.0;
    lossScale[0] = scale * select(select(1.0, 0.5, shrinks), 2.0, grows);
    lossScale[1] = select(steady, 0.0, steady == f32(params.growthInterval));
  }
  if (!finite) { return -1.0; }
  if (params.maxNorm > 0.0) { return min(1.0, params.maxNorm / (unscaled + 1e-6)) / scale; }
  return 1.0 / scale;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
  var total = 0.0;
  for (var at = local; at < params.pieces; at += 256) { total += partials[at]; }
  sums[local] = total;
  for (var half = 128u; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) { sums[local] += sums[local + half]; }
  }
  if (local == 0) { decided = decide(sums[0]); }
  workgroupBarrier();
  for (var slot = local; slot < params.slots; slot += 256) { slots[slot] = advance(slot, decided); }
}
