// minimum: y = min(a, b), a NaN where one is; the gradient goes to the smaller one, to a where both are equal.
// One invocation = four channels of one pixel.

#import linear
#import not_finite

struct Params {
    vectors: u32,   // vec4s of the value
    groups: u32,    // channel groups of the value
    a_offset: u32,  // first group in a pixel of a
    a_stride: u32,  // groups of a pixel of a
    b_offset: u32,
    b_stride: u32,
    y_offset: u32,  // the same of y, or of the gradient that is written
    y_stride: u32,
    g_offset: u32,  // the same of grad_y
    g_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y, grad_a or grad_b

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let u = a[pixel * params.a_stride + params.a_offset + c];
    let v = b[pixel * params.b_stride + params.b_offset + c];
    out[pixel * params.y_stride + params.y_offset + c] = select(select(min(u, v), u, is_nan(u)), v, is_nan(v));
}

@compute @workgroup_size(WG)
fn grad_a(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let lower = a[pixel * params.a_stride + params.a_offset + c] <= b[pixel * params.b_stride + params.b_offset + c];
    let g = grad_y[pixel * params.g_stride + params.g_offset + c];
    out[pixel * params.y_stride + params.y_offset + c] = select(vec4<f32>(0.0), g, lower);
}

@compute @workgroup_size(WG)
fn grad_b(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let lower = b[pixel * params.b_stride + params.b_offset + c] < a[pixel * params.a_stride + params.a_offset + c];
    let g = grad_y[pixel * params.g_stride + params.g_offset + c];
    out[pixel * params.y_stride + params.y_offset + c] = select(vec4<f32>(0.0), g, lower);
}
