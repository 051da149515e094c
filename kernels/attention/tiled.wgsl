// Attention for GPUs: a workgroup owns a block of query rows of one head, K and V pass through workgroup memory in tiles.
// SPLIT threads share a row, each holding PART vectors of it in registers; partial scores meet in workgroup memory.

const WORKGROUP: u32 = 64u;
const SPLIT: u32 = 2u;
const PART: u32 = 8u;
// Keys of a tile, a multiple of 8.
const TILE: u32 = 16u;
const VECTORS: u32 = SPLIT * PART;
const ROWS: u32 = WORKGROUP / SPLIT;
const LOWEST: f32 = -3.4e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  q: vec4<u32>, // offset, then strides of batch, head and token
  k: vec4<u32>,
  v: vec4<u32>,
  out: vec4<u32>,
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
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [B, H, Tq, Dh] in any strides
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> kTile: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> vTile: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> partial: array<f32, 8 * WORKGROUP>;

fn start(view: vec4<u32>, b: u32, h: u32) -> u32 {
  return view.x + b * view.y + h * view.z;
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

  var x: array<vec4<f32>, PART>;
  var acc: array<vec4<f32>, PART>;
  let qRow = start(params.q, b, h) + min(row, params.queries - 1u) * params.q.w;
  for (var i = 0u; i < PART; i++) {
    let d = (i * SPLIT + part) * 4u;
    let inside = vec4(d, d + 1u, d + 2u, d + 3u) < vec4(width);
    x[i] = select(vec4<f32>(), vec4(q[qRow + d], q[qRow + d + 1u], q[qRow + d + 2u], q[qRow + d + 3u]), inside);
    x[i] *= params.scale * LOG2E;
    acc[i] = vec4<f32>();
  }

  var top = LOWEST;
  var total = 0.0;
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
      var s: array<f32, 8>;
      for (var t = 0u; t < 8u; t++) {
        var sum = vec4<f32>();
        for (var i = 0u; i < PART; i++) { sum += x[i] * kTile[(first + t) * VECTORS + i * SPLIT + part]; }
        s[t] = (sum.x + sum.y) + (sum.z + sum.w);
      }
      if (SPLIT > 1u) {
        workgroupBarrier();
        for (var t = 0u; t < 8u; t++) { partial[t * WORKGROUP + lid] = s[t]; }
        workgroupBarrier();
        for (var t = 0u; t < 8u; t++) {
          s[t] = 0.0;
          for (var i = 0u; i < SPLIT; i++) { s[t] += partial[t * WORKGROUP + lid - part + i]; }
        }
      }
      var highest = top;
      for (var t = 0u; t < 8u; t++) {
        if (j + first + t >= params.keys) { s[t] = LOWEST; }
        highest = max(highest, s[t]);
      }
      let factor = exp2(top - highest);
      top = highest;
      total *= factor;
      for (var i = 0u; i < PART; i++) { acc[i] *= factor; }
      for (var t = 0u; t < 8u; t++) {
        let p = exp2(s[t] - top);
        total += p;
        for (var i = 0u; i < PART; i++) { acc[i] += p * vTile[(first + t) * VECTORS + i * SPLIT + part]; }
      }
    }
  }

  if (row >= params.queries) { return; }
  let inverse = 1.0 / total;
  let outRow = start(params.out, b, h) + row * params.out.w;
  for (var i = 0u; i < PART; i++) {
    for (var e = 0u; e < 4u; e++) {
      let d = (i * SPLIT + part) * 4u + e;
      if (d < width) { out[outRow + d] = acc[i][e] * inverse; }
    }
  }
  if (part == 0u) { lse[head * params.queries + row] = (top + log2(total)) * LN2; }
}
