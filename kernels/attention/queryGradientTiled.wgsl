// Gradient of the queries for GPUs, laid out as the forward kernel (tiled.wgsl). Also writes delta, the row sums of
// dOut * out that the gradient of keys and values needs.

const WORKGROUP: u32 = 64u;
const SPLIT: u32 = 2u;
const PART: u32 = 8u;
// Keys of a tile, a multiple of 8.
const TILE: u32 = 16u;
const VECTORS: u32 = SPLIT * PART;
const ROWS: u32 = WORKGROUP / SPLIT;
const LOG2E: f32 = 1.4426950408889634;

struct Params {
  q: vec4<u32>, // offset, then strides of batch, head and token
  k: vec4<u32>,
  v: vec4<u32>,
  out: vec4<u32>,
  dOut: vec4<u32>,
  dq: vec4<u32>,
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
@group(0) @binding(3) var<storage, read> out: array<f32>;
@group(0) @binding(4) var<storage, read> dOut: array<f32>;
@group(0) @binding(5) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(6) var<storage, read_write> dq: array<f32>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(7) var<storage, read_write> delta: array<f32>; // [B, H, Tq]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> kTile: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> vTile: array<vec4<f32>, TILE * VECTORS>;
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
  let blocks = (params.queries + ROWS - 1u) / ROWS;
  if (group >= blocks * params.batch * params.heads) { return; }
  let head = group / blocks; // of [B, H]
  let b = head / params.heads;
  let h = head % params.heads;
  let row = group % blocks * ROWS + lid / SPLIT;
  let part = lid % SPLIT;
  let width = params.width;
  let kStart = start(params.k, b, h);
  let vStart = start(params.v, b, h);

  var x: array<vec4<f32>, PART>; // query, scaled
  var g: array<vec4<f32>, PART>; // dOut
  var acc: array<vec4<f32>, PART>;
  var sum = 0.0;
  let clamped = min(row, params.queries - 1u);
  let qRow = start(params.q, b, h) + clamped * params.q.w;
  let outRow = start(params.out, b, h) + clamped * params.out.w;
  let dOutRow = start(params.dOut, b, h) + clamped * params.dOut.w;
  for (var i = 0u; i < PART; i++) {
    for (var e = 0u; e < 4u; e++) {
      let d = (i * SPLIT + part) * 4u + e;
      x[i][e] = select(0.0, q[qRow + d] * (params.scale * LOG2E), d < width);
      g[i][e] = select(0.0, dOut[dOutRow + d], d < width);
      sum += select(0.0, dOut[dOutRow + d] * out[outRow + d], d < width);
    }
    acc[i] = vec4<f32>();
  }
  if (SPLIT > 1u) {
    partial[lid].x = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < SPLIT; i++) { sum += partial[lid - part + i].x; }
  }
  let logSum = lse[head * params.queries + clamped] * LOG2E;

  for (var j = 0u; j < params.keys; j += TILE) {
    workgroupBarrier();
    for (var i = lid; i < TILE * VECTORS; i += WORKGROUP) {
      let key = min(j + i / VECTORS, params.keys - 1u);
      let d = i % VECTORS * 4u;
      let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(width);
      let kAt = kStart + key * params.k.w + d;
      let vAt = vStart + key * params.v.w + d;
      kTile[i] = select(vec4<f32>(), vec4(k[kAt], k[kAt + 1u], k[kAt + 2u], k[kAt + 3u]), inside);
      vTile[i] = select(vec4<f32>(), vec4(v[vAt], v[vAt + 1u], v[vAt + 2u], v[vAt + 3u]), inside);
    }
    workgroupBarrier();

    for (var first = 0u; first < TILE && j + first < params.keys; first += 8u) {
      var s: array<vec2<f32>, 8>; // the score and dOut * v
      for (var t = 0u; t < 8u; t++) {
        var score = vec4<f32>();
        var product = vec4<f32>();
        for (var i = 0u; i < PART; i++) {
          score += x[i] * kTile[(first + t) * VECTORS + i * SPLIT + part];
          product += g[i] * vTile[(first + t) * VECTORS + i * SPLIT + part];
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
        let ds = select(0.0, exp2(s[t].x - logSum) * (s[t].y - sum), j + first + t < params.keys);
        for (var i = 0u; i < PART; i++) { acc[i] += ds * kTile[(first + t) * VECTORS + i * SPLIT + part]; }
      }
    }
  }

  if (row >= params.queries) { return; }
  let dqRow = start(params.dq, b, h) + row * params.dq.w;
  for (var i = 0u; i < PART; i++) {
    for (var e = 0u; e < 4u; e++) {
      let d = (i * SPLIT + part) * 4u + e;
      if (d < width) { dq[dqRow + d] = acc[i][e] * params.scale; }
    }
  }
  if (part == 0u) { delta[head * params.queries + row] = sum; }
}
