// y = x as another type. To i32 fractions are cut off, and NaN becomes the lowest number. Workgroups share y as in unary.wgsl.
alias From = f32;
alias To = i32;
const WORKGROUP: u32 = 8u;
const TAIL: bool = true;
const TO_INT: bool = true;

struct Params { count: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<From>>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<To>>; // [count]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let total = (params.count + 3u) / 4u;
  let threads = groups.x * groups.y * WORKGROUP;
  let share = (total + threads - 1u) / threads * WORKGROUP;
  let start = (wid.y * groups.x + wid.x) * share;
  let end = min(start + share, total);
  for (var i = start + local; i < end; i += WORKGROUP) {
    var v = vec4<To>(x[i]);
    if (TO_INT) {
      let isNaN = (bitcast<vec4<u32>>(x[i]) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
      v = select(v, vec4(To(-2147483648)), isNaN);
    }
    if (!TAIL || i < params.count / 4u) {
      y[i] = v;
    } else {
      for (var j = 0u; j < params.count % 4u; j++) { y[i][j] = v[j]; }
    }
  }
}
