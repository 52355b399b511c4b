// crop: y[n,c,oy,ox] = x[n,c,top+oy,left+ox] with (top, left) = corners[n]; grad_x is grad_y inside of the window, 0 elsewhere.
// Edges: a window that would overhang is moved inside.
// Corners are an input, not a setting, so that a recording can be replayed with another window.
// One invocation = four channels of one pixel.

#import linear
#import corner

struct Params {
    vectors: u32,         // vec4s of y, or of grad_x
    groups: u32,          // channel groups of the value
    h: u32,               // height of x
    w: u32,
    oh: u32,              // height of the window
    ow: u32,
    corners_offset: u32,  // first group in a picture of corners
    corners_stride: u32,  // groups of a picture of corners
    x_offset: u32,        // first group in a pixel of x, or of grad_y
    x_stride: u32,        // groups of a pixel of x, or of grad_y
    y_offset: u32,        // the same of y, or of grad_x
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4]; grad_y [N, OH, OW, C/4] in grad_input
@group(0) @binding(2) var<storage, read> corners: array<vec4<f32>>;    // [N]: top, left, 0, 0
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;    // [N, OH, OW, C/4]; grad_x [N, H, W, C/4] in grad_input

// Top and left of the window in picture n.
fn corner(n: u32) -> vec2<u32> {
    let wanted = corners[n * params.corners_stride + params.corners_offset].xy;
    return inside_corner(wanted, vec2<u32>(params.h - params.oh, params.w - params.ow));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.oh * params.ow);
    let at = corner(n) + vec2<u32>((pixel / params.ow) % params.oh, pixel % params.ow);
    let source = (n * params.h + at.x) * params.w + at.y;
    y[pixel * params.y_stride + params.y_offset + c] = x[source * params.x_stride + params.x_offset + c];
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.h * params.w);
    // Above or left of the window this wraps to a large number, outside as well.
    let at = vec2<u32>((pixel / params.w) % params.h, pixel % params.w) - corner(n);
    var g = vec4<f32>(0.0);
    if (at.x < params.oh && at.y < params.ow) {
        let source = (n * params.oh + at.x) * params.ow + at.y;
        g = x[source * params.x_stride + params.x_offset + c];
    }
    y[pixel * params.y_stride + params.y_offset + c] = g;
}
