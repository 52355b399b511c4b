// pad: y[n,c,oy,ox] = x[n,c,oy-top,ox-left] inside of x, else value; grad_x[n,c,iy,ix] = grad_y[n,c,iy+top,ix+left].
// Edges: the lanes that fill up the last channel group stay 0, whatever the value.
// One invocation = four channels of one pixel.

#import linear

struct Params {
    vectors: u32,   // vec4s of y, or of grad_x
    groups: u32,    // channel groups of the value
    c: u32,         // channels
    h: u32,         // height of x
    w: u32,
    oh: u32,        // height of y
    ow: u32,
    left: u32,      // pixels added on the left
    top: u32,       // pixels added above
    value: f32,     // what they hold
    x_offset: u32,  // first group in a pixel of x, or of grad_y
    x_stride: u32,  // groups of a pixel of x, or of grad_y
    y_offset: u32,  // the same of y, or of grad_x
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4]; grad_y [N, OH, OW, C/4] in grad_input
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;    // [N, OH, OW, C/4]; grad_x [N, H, W, C/4] in grad_input

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.oh * params.ow);
    // Above or left of x this wraps to a large number, outside as well.
    let iy = (pixel / params.ow) % params.oh - params.top;
    let ix = pixel % params.ow - params.left;
    let real = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.c);
    var v = select(vec4<f32>(0.0), vec4<f32>(params.value), real);
    if (iy < params.h && ix < params.w) {
        v = x[((n * params.h + iy) * params.w + ix) * params.x_stride + params.x_offset + c];
    }
    y[pixel * params.y_stride + params.y_offset + c] = v;
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.h * params.w);
    let oy = (pixel / params.w) % params.h + params.top;
    let ox = pixel % params.w + params.left;
    let source = (n * params.oh + oy) * params.ow + ox;
    y[pixel * params.y_stride + params.y_offset + c] = x[source * params.x_stride + params.x_offset + c];
}
