// Moves elements where the source is contiguous along the last outer dim (M) and the target along the innermost one (N), and converts
// them to Target. Tiles of 32 x 32 are transposed in workgroup memory, so neighbouring threads both read and write neighbours.
alias Source = u32;
alias Target = u32;
const TILE: u32 = 32u;
// The neighbours that are loaded and stored at once, and their types: four where all rows and columns are made of fours.
const VEC: u32 = 1u;
alias From = Source;
alias To = Target;
// Four(v)[0] is the first element of a vector, or the whole vector of an array of one.
alias Four = vec4<Target>;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  dims: array<vec4<u32>, 2>, sourceStrides: array<vec4<u32>, 2>, targetStrides: array<vec4<u32>, 2>,
  outer: u32, rows: u32, inner: u32, sourceStep: u32, sourceOffset: u32, targetStep: u32,
  targetOffset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<From>; // [dims, inner] by strides
@group(0) @binding(1) var<storage, read_write> out: array<To>; // [dims, inner] by strides
@group(1) @binding(0) var<uniform> params: Params;

// [N][M], with rows padded by one element so that the elements of a column lie in different banks.
var<workgroup> tile: array<Target, TILE * (TILE + 1u)>;

@compute @workgroup_size(TILE, 8)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let last = params.outer - 1u;
  let height = params.dims[last / 4u][last % 4u];
  let tilesM = (height + TILE - 1u) / TILE;
  let tilesN = (params.inner + TILE - 1u) / TILE;
  let group = wid.y * groups.x + wid.x;
  let firstN = group % tilesN * TILE;
  let firstM = group / tilesN % tilesM * TILE;
  let own = wid.z * params.strides[0]; // the first elements of this branch's operands
  var rest = group / tilesN / tilesM;
  // Workgroups past the end reach the barrier too, and move nothing.
  let alive = rest < params.rows / height;
  var atSource = own.x + params.sourceOffset;
  var atTarget = own.y + params.targetOffset;
  for (var d = last; d > 0u; d--) {
    let size = params.dims[(d - 1u) / 4u][(d - 1u) % 4u];
    let at = rest % size;
    rest /= size;
    atSource += at * params.sourceStrides[(d - 1u) / 4u][(d - 1u) % 4u];
    atTarget += at * params.targetStrides[(d - 1u) / 4u][(d - 1u) % 4u];
  }
  let targetRow = params.targetStrides[last / 4u][last % 4u];
  if (VEC == 4u) {
    // Each thread loads and stores a vec4: it has line y of the tile, and four places from x on.
    let x = local.x % 8u * 4u;
    let y = local.y * 4u + local.x / 8u;
    if (alive && firstM + x < height && firstN + y < params.inner) {
      let four = vec4<Source>(source[(atSource + firstM + x + (firstN + y) * params.sourceStep) / VEC]);
      for (var s = 0u; s < 4u; s++) { tile[y * (TILE + 1u) + x + s] = Target(four[s]); }
    }
    workgroupBarrier();
    if (alive && firstM + y < height && firstN + x < params.inner) {
      var four: vec4<Target>;
      for (var s = 0u; s < 4u; s++) { four[s] = tile[(x + s) * (TILE + 1u) + y]; }
      out[(atTarget + (firstM + y) * targetRow + firstN + x) / VEC] = Four(four)[0];
    }
    return;
  }
  for (var k = local.y; k < TILE; k += 8u) {
    let m = firstM + local.x;
    let n = firstN + k;
    if (alive && m < height && n < params.inner) {
      // The vec4() and .x let this compile where the element is a vector too.
      tile[k * (TILE + 1u) + local.x] = Target(vec4<Source>(source[atSource + m + n * params.sourceStep]).x);
    }
  }
  workgroupBarrier();
  for (var k = local.y; k < TILE; k += 8u) {
    let m = firstM + k;
    let n = firstN + local.x;
    if (alive && m < height && n < params.inner) {
      out[atTarget + m * targetRow + n] = Four(vec4(tile[local.x * (TILE + 1u) + k]))[0];
    }
  }
}
