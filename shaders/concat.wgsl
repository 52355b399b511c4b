// concat: y[n, start + c, h, w] = x[n, c, h, w] for each argument x; grad_x[n, c, h, w] = grad_y[n, start + c, h, w].
// Both are this copy of some channels of each pixel, one dispatch for each argument. Where every start is a multiple of
// four the tape places the arguments instead and nothing is copied.
// Edges: a channel group may belong to two arguments, so that lanes are written one by one; padding lanes are written as zero.
// One invocation = one channel of one pixel of the destination.

#import linear

struct Params {
    pixels: u32,        // N*H*W
    channels: u32,      // channels copied
    lanes: u32,         // lanes written: the channels, and the padding after them where it belongs to them
    from_first: u32,    // first lane in a pixel of the source
    from_stride: u32,   // lanes of a pixel of the source
    to_first: u32,      // the same of the destination
    to_stride: u32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;        // x or grad_y, [N, H, W, C]
@group(0) @binding(2) var<storage, read_write> copy: array<f32>;    // y or grad_x, [N, H, W, C]

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.lanes;
    let p = i / params.lanes;
    if (p >= params.pixels) { return; }
    var v = 0.0;
    if (c < params.channels) { v = source[p * params.from_stride + params.from_first + c]; }
    copy[p * params.to_stride + params.to_first + c] = v;
}
