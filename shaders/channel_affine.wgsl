// channel_affine: y = x * scale + shift, channel by channel.
// grad_x = grad_y * scale; grad_scale = sum over n,h,w of grad_y * x; grad_shift = sum over n,h,w of grad_y.
// Letters: pixels are counted through the batch; "group" is four channels.
// One invocation = four channels of one pixel in forward and grad_input; one workgroup = four channels in the sums.

#import linear
#import reduce

struct Params {
    pixels: u32,    // N*H*W
    groups: u32,    // channel groups of the value
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;        // [C/4]
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;        // [C/4]
@group(0) @binding(4) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;    // y, grad_x, grad_scale or grad_shift

const RUN: u32 = 2048u; // pixels summed up before the sum joins the others: rounding must not grow with the picture

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.pixels) { return; }
    let v = x[p * params.x_stride + params.x_offset + c];
    out[p * params.y_stride + params.y_offset + c] = v * scale[c] + shift[c];
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.pixels) { return; }
    out[p * params.x_stride + params.x_offset + c] = grad_y[p * params.y_stride + params.y_offset + c] * scale[c];
}

@compute @workgroup_size(64)
fn grad_scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; }
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            part += grad_y[p * params.y_stride + params.y_offset + c] * x[p * params.x_stride + params.x_offset + c];
        }
        sum += part;
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[c] = total; }
}

@compute @workgroup_size(64)
fn grad_shift(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; }
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            part += grad_y[p * params.y_stride + params.y_offset + c];
        }
        sum += part;
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[c] = total; }
}
