// paste: picture[n,c,top+oy,left+ox] = x[n,c,oy,ox] with (top, left) = corners[n]; what lies outside of the window stays.
// Edges: a window that would overhang is moved inside, as crop does.
// One invocation = four channels of one pixel of the window.

#import linear
#import corner

struct Params {
    vectors: u32,         // vec4s of x
    groups: u32,          // channel groups of the value
    h: u32,               // height of picture
    w: u32,
    oh: u32,              // height of x
    ow: u32,
    corners_offset: u32,  // first group in a picture of corners
    corners_stride: u32,  // groups of a picture of corners
    x_offset: u32,        // first group in a pixel of x
    x_stride: u32,        // groups of a pixel of x
    picture_offset: u32,  // the same of picture
    picture_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                // [N, OH, OW, C/4]
@group(0) @binding(2) var<storage, read> corners: array<vec4<f32>>;          // [N]: top, left, 0, 0
@group(0) @binding(3) var<storage, read_write> picture: array<vec4<f32>>;    // [N, H, W, C/4]

@compute @workgroup_size(WG)
fn paste(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.oh * params.ow);
    let wanted = corners[n * params.corners_stride + params.corners_offset].xy;
    let corner = inside_corner(wanted, vec2<u32>(params.h - params.oh, params.w - params.ow));
    let at = corner + vec2<u32>((pixel / params.ow) % params.oh, pixel % params.ow);
    let place = (n * params.h + at.x) * params.w + at.y;
    picture[place * params.picture_stride + params.picture_offset + c] = x[pixel * params.x_stride + params.x_offset + c];
}
