// The momentum of Muon over all of its weights, with gradient clipping and loss scaling: m = momentum m + (1 - momentum) g, and the
// direction that Newton-Schulz iterations orthogonalize, which for Nesterov's momentum is momentum m + (1 - momentum) g once more.
// Each block of 64 elements belongs to one slot, and has its place among the directions, where matrices of one shape lie side by
// side. A slot that takes no part has a direction of zeros. Neighbouring threads take neighbouring vec4s.

const VEC4S_PER_THREAD: u32 = 4;

struct Params {
  blocks: u32, momentum: f32,
  // 1 - momentum, which loses digits when float32 subtracts.
  complement: f32, nesterov: u32,
}

@group(0) @binding(0) var<storage, read> gradients: array<vec4f>; // [blocks, 64]
@group(0) @binding(1) var<storage, read_write> momentumBuffer: array<vec4f>; // [blocks, 64]
@group(0) @binding(2) var<storage, read_write> directions: array<vec4f>; // [places, 64]
@group(0) @binding(3) var<storage, read> blockSlot: array<i32>; // [blocks]
@group(0) @binding(4) var<storage, read> blockPlace: array<i32>; // [blocks]: the block's place in directions, or -1
// [slots]: three numbers that are not read, and the factor of the gradient. A factor below 0 leaves the slot as it is.
@group(0) @binding(5) var<storage, read> slots: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32,
) {
  let first = (wid.y * groups.x + wid.x) * 64 * VEC4S_PER_THREAD + local;
  for (var i = 0u; i < VEC4S_PER_THREAD; i++) {
    let at = first + i * 64;
    if (at >= params.blocks * 16) { return; }
    let place = blockPlace[at / 16];
    if (place >= 0) {
      let factor = slots[u32(blockSlot[at / 16])].w;
      var direction = vec4f();
      if (factor >= 0.0) {
        let gradient = gradients[at] * factor;
        let momentum = params.momentum * momentumBuffer[at] + params.complement * gradient;
        momentumBuffer[at] = momentum;
        direction = select(momentum, params.momentum * momentum + params.complement * gradient, params.nesterov != 0);
      }
      directions[u32(place) * 16 + at % 16] = direction;
    }
  }
}
