// add: y = a + b.
// Its gradients are grad_y itself, which the tape passes on without a kernel.
// One invocation = four channels of one pixel.

#import linear

struct Params {
    vectors: u32,   // vec4s of the value
    groups: u32,    // channel groups of the value
    a_offset: u32,  // first group in a pixel of a
    a_stride: u32,  // groups of a pixel of a
    b_offset: u32,
    b_stride: u32,
    y_offset: u32,
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;          // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;          // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;    // [N, H, W, C/4]

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    y[pixel * params.y_stride + params.y_offset + c] =
        a[pixel * params.a_stride + params.a_offset + c] + b[pixel * params.b_stride + params.b_offset + c];
}
