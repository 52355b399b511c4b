// relu: y = max(x, 0); grad_x = grad_y where y > 0, else 0.
// Edges: the gradient at exactly 0 is 0. A NaN stays one, so that the check for it finds its source.
// One invocation = four channels of one pixel.

#import linear
#import not_finite

struct Params {
    vectors: u32,   // vec4s of the value
    groups: u32,    // channel groups of the value
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y
    y_stride: u32,
    g_offset: u32,  // the same of grad_y
    g_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let v = x[pixel * params.x_stride + params.x_offset + c];
    out[pixel * params.y_stride + params.y_offset + c] = where_positive(v, v);
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let v = y[pixel * params.y_stride + params.y_offset + c];
    let g = grad_y[pixel * params.g_stride + params.g_offset + c];
    out[pixel * params.x_stride + params.x_offset + c] = where_positive(g, v);
}
