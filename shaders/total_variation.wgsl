// total_variation: y[n] = sum over c,iy,ix of |x[iy+1,ix] - x[iy,ix]| + |x[iy,ix+1] - x[iy,ix]|, where both pixels exist.
// grad_x = grad_y[n] * sum over the up to four neighbours of sign(x - neighbour), 0 where the two are equal.
// Edges: the lanes that fill up the last channel group are 0 and do not vary.
// One workgroup = one picture in forward; one invocation = four channels of one pixel in grad_input.

#import linear
#import reduce

struct Params {
    vectors: u32,    // vec4s of x
    groups: u32,     // channel groups of x
    n: u32,          // pictures
    h: u32,          // height of x
    w: u32,
    x_offset: u32,   // first group in a pixel of x
    x_stride: u32,   // groups of a pixel of x
    gx_offset: u32,  // the same of grad_x
    gx_stride: u32,
    y_offset: u32,   // first group in a picture of y, or of grad_y
    y_stride: u32,   // groups of a picture of y, or of grad_y
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad_y: array<vec4<f32>>;       // [N]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // y [N] or grad_x [N, H, W, C/4]

fn load(pixel: u32, c: u32) -> vec4<f32> {
    return x[pixel * params.x_stride + params.x_offset + c];
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let area = params.h * params.w;
    var sum = vec4<f32>(0.0);
    for (var k = lane; k < area * params.groups; k += 64u) {
        let c = k % params.groups;
        let ix = (k / params.groups) % params.w;
        let iy = k / (params.groups * params.w);
        let pixel = n * area + k / params.groups;
        let here = load(pixel, c);
        if (ix + 1u < params.w) { sum += abs(load(pixel + 1u, c) - here); }
        if (iy + 1u < params.h) { sum += abs(load(pixel + params.w, c) - here); }
    }
    let total = dot(workgroup_sum(lane, sum), vec4<f32>(1.0));
    if (lane == 0u) { out[n * params.y_stride + params.y_offset] = vec4<f32>(total, 0.0, 0.0, 0.0); }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let ix = pixel % params.w;
    let iy = (pixel / params.w) % params.h;
    let n = pixel / (params.h * params.w);
    let here = load(pixel, c);
    var slope = vec4<f32>(0.0);
    if (ix > 0u) { slope += sign(here - load(pixel - 1u, c)); }
    if (ix + 1u < params.w) { slope += sign(here - load(pixel + 1u, c)); }
    if (iy > 0u) { slope += sign(here - load(pixel - params.w, c)); }
    if (iy + 1u < params.h) { slope += sign(here - load(pixel + params.w, c)); }
    out[pixel * params.gx_stride + params.gx_offset + c] = grad_y[n * params.y_stride + params.y_offset].x * slope;
}
