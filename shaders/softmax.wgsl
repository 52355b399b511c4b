// softmax: y[n,c,h,w] = exp(x[n,c,h,w] - m) / sum over channels k of exp(x[n,k,h,w] - m), with m the largest of the pixel, so that
// no term overflows; grad_x = y * (grad_y - sum over channels k of grad_y * y).
// Edges: lanes that fill up the last channel group take no part, and are zero.
// Letters: pixels are counted through the batch; "group" is four channels.
// One workgroup = one pixel.

#import not_finite
#import reduce

struct Params {
    pixels: u32,    // N*H*W
    groups: u32,    // channel groups of the value
    channels: u32,  // of the value
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y
    y_stride: u32,
    g_offset: u32,  // the same of grad_y
    g_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x

// The value in the lanes of a group that are channels, `otherwise` in those that only fill up.
fn real(c: u32, v: vec4<f32>, otherwise: f32) -> vec4<f32> {
    return select(vec4<f32>(otherwise), v, vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels));
}

// Every invocation finds the maximum on its own: a thousand numbers are 250 loads, from a cache.
fn largest(first: u32) -> f32 {
    var most = vec4<f32>(x[first].x);
    for (var c = 0u; c < params.groups; c++) {
        most = max(most, real(c, x[first + c], most.x));
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let p = group.x + group.y * groups.x;
    if (p >= params.pixels) { return; } // the whole workgroup
    let first = p * params.x_stride + params.x_offset;
    let m = largest(first);
    var powers = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        let v = x[first + c];
        powers += real(c, select(exp(v - m), v, is_nan(v)), 0.0);
    }
    let total = dot(workgroup_sum(lane, powers), vec4<f32>(1.0));
    for (var c = lane; c < params.groups; c += 64u) {
        let v = x[first + c];
        out[p * params.y_stride + params.y_offset + c] = real(c, select(exp(v - m) / total, v, is_nan(v)), 0.0);
    }
}

@compute @workgroup_size(64)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let p = group.x + group.y * groups.x;
    if (p >= params.pixels) { return; } // the whole workgroup
    var sum = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        sum += grad_y[p * params.g_stride + params.g_offset + c] * y[p * params.y_stride + params.y_offset + c];
    }
    let mean = dot(workgroup_sum(lane, sum), vec4<f32>(1.0));
    for (var c = lane; c < params.groups; c += 64u) {
        let g = grad_y[p * params.g_stride + params.g_offset + c];
        let v = y[p * params.y_stride + params.y_offset + c];
        out[p * params.x_stride + params.x_offset + c] = real(c, v * (g - mean), 0.0);
    }
}
