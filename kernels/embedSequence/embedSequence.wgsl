// The sequences that a Transformer reads: tokens [images, T, D] behind a row that all share (ViT's class token, 2010.11929), plus the embedding
// of each position. A thread has one place of a sequence, and adds it for `each` images.

alias Element = f32;
const WORKGROUP: u32 = 64u;
// The neighbours of a row in one Element.
const ROW_VEC: u32 = 1u;

struct Params {
  strides: array<vec4<u32>, 1>, // the strides of each binding from branch to branch
  images: u32, T: u32, D: u32,
  each: u32, // the images of a thread
}

@group(0) @binding(0) var<storage, read> tokens: array<Element>; // [images, T, D]
@group(0) @binding(1) var<storage, read> first: array<Element>; // [D]
@group(0) @binding(2) var<storage, read> positions: array<Element>; // [T + 1, D]
@group(0) @binding(3) var<storage, read_write> out: array<Element>; // [images, T + 1, D]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = wid.z * params.strides[0] / ROW_VEC; // the first elements of this branch's operands
  let width = params.D / ROW_VEC;
  let size = (params.T + 1u) * width;
  let perPart = (size + WORKGROUP - 1u) / WORKGROUP;
  let workgroup = wid.y * groups.x + wid.x;
  let place = workgroup % perPart * WORKGROUP + local;
  let start = workgroup / perPart * params.each;
  if (place >= size) { return; }
  let end = min(start + params.each, params.images);
  let position = positions[own.z + place];
  if (place < width) {
    let row = first[own.y + place] + position;
    for (var image = start; image < end; image++) { out[own.w + image * size + place] = row; }
  } else {
    let token = own.x + place - width;
    for (var image = start; image < end; image++) {
      out[own.w + image * size + place] = tokens[token + image * (size - width)] + position;
    }
  }
}
