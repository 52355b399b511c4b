// layer_norm: y[n,c,h,w] = (x[n,c,h,w] - mean) * inv_std * weight[c] + bias[c], with the mean and the biased variance over the
// channels of one pixel, inv_std = 1 / sqrt(var + eps).
// With v = grad_y * weight and z = (x - mean) * inv_std: grad_x = (v - mean of v - z * mean of v * z) * inv_std;
// grad_weight[c] = sum over n,h,w of grad_y * z; grad_bias[c] = sum over n,h,w of grad_y.
// Edges: the mean goes first, since it may be far from zero; lanes that fill up the last channel group take no part.
// Letters: pixels are counted through the batch; "group" is four channels.
// One workgroup = one pixel in forward and grad_input, four channels in grad_weight and grad_bias.

#import reduce

struct Params {
    pixels: u32,    // N*H*W
    groups: u32,    // channel groups of the value
    channels: u32,  // of the value
    eps: f32,       // added to the variance
    x_offset: u32,  // first group in a pixel of x
    x_stride: u32,  // groups of a pixel of x
    g_offset: u32,  // the same of grad_y
    g_stride: u32,
    out_offset: u32, // the same of y, or of grad_x
    out_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;        // [C/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;          // [C/4]
@group(0) @binding(4) var<storage, read> statistics: array<vec4<f32>>;    // [N, H, W]: mean, inv_std, 0, 0
@group(0) @binding(5) var<storage, read> grad_y: array<vec4<f32>>;        // [N, H, W, C/4]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;     // y, grad_x, grad_weight or grad_bias
@group(0) @binding(7) var<storage, read_write> out_statistics: array<vec4<f32>>; // [N, H, W]

const RUN: u32 = 2048u; // pixels summed up before the sum joins the others: rounding must not grow with the picture

// The lanes of a group that are channels; zero in the others.
fn real(c: u32, v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels));
}

fn lanes(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let p = group.x + group.y * groups.x;
    if (p >= params.pixels) { return; } // the whole workgroup
    let count = f32(params.channels);
    let from_group = p * params.x_stride + params.x_offset;
    var sum = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        sum += x[from_group + c];
    }
    let mean = lanes(workgroup_sum(lane, sum)) / count;
    var squares = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        let off = real(c, x[from_group + c] - mean);
        squares += off * off;
    }
    let inv_std = 1.0 / sqrt(lanes(workgroup_sum(lane, squares)) / count + params.eps);
    for (var c = lane; c < params.groups; c += 64u) {
        let z = real(c, x[from_group + c] - mean) * inv_std;
        out[p * params.out_stride + params.out_offset + c] = z * weight[c] + bias[c];
    }
    if (lane == 0u) { out_statistics[p] = vec4<f32>(mean, inv_std, 0.0, 0.0); }
}

@compute @workgroup_size(64)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let p = group.x + group.y * groups.x;
    if (p >= params.pixels) { return; } // the whole workgroup
    let mean = statistics[p].x;
    let inv_std = statistics[p].y;
    var first = vec4<f32>(0.0);
    var second = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        let v = grad_y[p * params.g_stride + params.g_offset + c] * weight[c];
        let z = real(c, x[p * params.x_stride + params.x_offset + c] - mean) * inv_std;
        first += v;
        second += v * z;
    }
    let sums = workgroup_sum(lane, vec4<f32>(lanes(first), lanes(second), 0.0, 0.0)) / f32(params.channels);
    for (var c = lane; c < params.groups; c += 64u) {
        let v = grad_y[p * params.g_stride + params.g_offset + c] * weight[c];
        let z = real(c, x[p * params.x_stride + params.x_offset + c] - mean) * inv_std;
        out[p * params.out_stride + params.out_offset + c] = real(c, v - sums.x - z * sums.y) * inv_std;
    }
}

@compute @workgroup_size(64)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; } // the whole workgroup
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            let z = real(c, x[p * params.x_stride + params.x_offset + c] - statistics[p].x) * statistics[p].y;
            part += grad_y[p * params.g_stride + params.g_offset + c] * z;
        }
        sum += part;
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[c] = total; }
}

@compute @workgroup_size(64)
fn grad_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; } // the whole workgroup
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            part += grad_y[p * params.g_stride + params.g_offset + c];
        }
        sum += part;
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[c] = total; }
}
