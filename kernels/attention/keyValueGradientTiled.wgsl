// Gradients of the keys and values for GPUs, laid out as the forward kernel (tiled.wgsl), but the workgroup owns key rows and
// Q and dOut pass through workgroup memory. Both gradients go to one buffer, each at its own offset and strides.

const WORKGROUP: u32 = 64u;
const SPLIT: u32 = 2u;
const PART: u32 = 8u;
// Queries of a tile, a multiple of 8.
const TILE: u32 = 16u;
const VECTORS: u32 = SPLIT * PART;
const ROWS: u32 = WORKGROUP / SPLIT;
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  q: vec4<u32>, // offset, then strides of batch, head and token
  k: vec4<u32>,
  v: vec4<u32>,
  dOut: vec4<u32>,
  dk: vec4<u32>,
  dv: vec4<u32>,
  batch: u32,
  heads: u32,
  queries: u32,
  keys: u32,
  width: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(5) var<storage, read> delta: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dkv: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> qTile: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> gTile: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> sums: array<vec2<f32>, TILE>; // logsumexp in base 2, and delta
var<workgroup> partial: array<vec2<f32>, 8 * WORKGROUP>;

fn start(view: vec4<u32>, b: u32, h: u32) -> u32 {
  return view.x + b * view.y + h * view.z;
}

fn total(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let group = wid.y * groups.x + wid.x;
  let blocks = (params.keys + ROWS - 1u) / ROWS;
  if (group >= blocks * params.batch * params.heads) { return; }
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let row = group % blocks * ROWS + lid / SPLIT;
  let part = lid % SPLIT;
  let width = params.width;
  let qStart = start(params.q, b, h);
  let dOutStart = start(params.dOut, b, h);

  var x: array<vec4<f32>, PART>; // key, scaled
  var y: array<vec4<f32>, PART>; // value
  var dk: array<vec4<f32>, PART>;
  var dv: array<vec4<f32>, PART>;
  let clamped = min(row, params.keys - 1u);
  let kRow = start(params.k, b, h) + clamped * params.k.w;
  let vRow = start(params.v, b, h) + clamped * params.v.w;
  for (var i = 0u; i < PART; i++) {
    for (var e = 0u; e < 4u; e++) {
      let d = (i * SPLIT + part) * 4u + e;
      x[i][e] = select(0.0, k[kRow + d] * (params.scale * LOG2E), d < width);
      y[i][e] = select(0.0, v[vRow + d], d < width);
    }
    dk[i] = vec4<f32>();
    dv[i] = vec4<f32>();
  }

  for (var j = 0u; j < params.queries; j += TILE) {
    workgroupBarrier();
    for (var i = lid; i < TILE * VECTORS; i += WORKGROUP) {
      let query = min(j + i / VECTORS, params.queries - 1u);
      let d = i % VECTORS * 4u;
      let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(width);
      let qAt = qStart + query * params.q.w + d;
      let gAt = dOutStart + query * params.dOut.w + d;
      qTile[i] = select(vec4<f32>(), vec4(q[qAt], q[qAt + 1u], q[qAt + 2u], q[qAt + 3u]), inside);
      gTile[i] = select(vec4<f32>(), vec4(dOut[gAt], dOut[gAt + 1u], dOut[gAt + 2u], dOut[gAt + 3u]), inside);
    }
    for (var i = lid; i < TILE; i += WORKGROUP) {
      let at = head * params.queries + min(j + i, params.queries - 1u);
      sums[i] = vec2(lse[at] * LOG2E, delta[at]);
    }
    workgroupBarrier();

    for (var first = 0u; first < TILE && j + first < params.queries; first += 8u) {
      var s: array<vec2<f32>, 8>; // the score and dOut * v
      for (var t = 0u; t < 8u; t++) {
        var score = vec4<f32>();
        var product = vec4<f32>();
        for (var i = 0u; i < PART; i++) {
          score += x[i] * qTile[(first + t) * VECTORS + i * SPLIT + part];
          product += y[i] * gTile[(first + t) * VECTORS + i * SPLIT + part];
        }
        s[t] = vec2(total(score), total(product));
      }
      if (SPLIT > 1u) {
        workgroupBarrier();
        for (var t = 0u; t < 8u; t++) { partial[t * WORKGROUP + lid] = s[t]; }
        workgroupBarrier();
        for (var t = 0u; t < 8u; t++) {
          s[t] = vec2<f32>();
          for (var i = 0u; i < SPLIT; i++) { s[t] += partial[t * WORKGROUP + lid - part + i]; }
        }
      }
      for (var t = 0u; t < 8u; t++) {
        let sum = sums[first + t];
        let p = select(0.0, exp2(s[t].x - sum.x), j + first + t < params.queries);
        let ds = p * (s[t].y - sum.y);
        for (var i = 0u; i < PART; i++) {
          dk[i] += ds * qTile[(first + t) * VECTORS + i * SPLIT + part];
          dv[i] += p * gTile[(first + t) * VECTORS + i * SPLIT + part];
        }
      }
    }
  }

  if (row >= params.keys) { return; }
  let dkRow = start(params.dk, b, h) + row * params.dk.w;
  let dvRow = start(params.dv, b, h) + row * params.dv.w;
  for (var i = 0u; i < PART; i++) {
    for (var e = 0u; e < 4u; e++) {
      let d = (i * SPLIT + part) * 4u + e;
      if (d < width) {
        dkv[dkRow + d] = dk[i][e] * params.scale;
        dkv[dvRow + d] = dv[i][e];
      }
    }
  }
}
