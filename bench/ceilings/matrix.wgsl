// Multiplies 16 x 16 matrices of float16 with sums in f32 as fast as the device can (tensor cores): each subgroup adds to
// CHAINS independent sums, and the loop reads nothing.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;

struct Params {
  rounds: u32,
}

const CHAINS: u32 = 8u;
const THREADS: u32 = 128u;
// Largest number of subgroups of a workgroup, for which y has room.
const SUBGROUPS: u32 = 32u;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

@group(0) @binding(0) var<storage, read> x: array<f16>; // [1 + CHAINS, 16, 16]: the left operand, and a right operand for each sum
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [workgroups, SUBGROUPS, CHAINS, 16, 16]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
  let left = subgroupMatrixLoad<Left, row_major>(&x, 0u, 16u);
  var right: array<Right, CHAINS>;
  for (var i = 0u; i < CHAINS; i++) {
    right[i] = subgroupMatrixLoad<Right, row_major>(&x, (1u + i) * 256u, 16u);
  }
  var sums: array<Result, CHAINS>;
  for (var round = 0u; round < params.rounds; round++) {
    for (var i = 0u; i < CHAINS; i++) {
      sums[i] = subgroupMatrixMultiplyAccumulate(left, right[i], sums[i]);
    }
  }
  let start = (wid.x * SUBGROUPS + subgroup) * CHAINS;
  for (var i = 0u; i < CHAINS; i++) {
    subgroupMatrixStore<row_major>(&y, (start + i) * 256u, sums[i], 16u);
  }
}
