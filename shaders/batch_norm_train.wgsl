// batch_norm_train: y = (x - mean) * inv_std * weight + bias, channel by channel, with the mean and the biased variance
// of this batch: inv_std = 1 / sqrt(var + eps); running = (1 - momentum) * running + momentum * batch, the variance there
// unbiased: var * P / (P - 1) for P pixels.
// With z = (x - mean) * inv_std: grad_weight = sum of grad_y * z, grad_bias = sum of grad_y, both over n,h,w, and
// grad_x = weight * inv_std * (grad_y - grad_bias / P - z * grad_weight / P), after Ioffe and Szegedy 2015, section 3.
// Edges: the mean may be far from zero next to the spread, so sums are taken around the mean of a few pixels, which they then
// correct: that one lies within a few spreads of the mean. Where var + eps is 0, inv_std is 0 and not infinite.
// Letters: pixels are counted through the batch; "group" is four channels.
// One invocation = 4 pixels x 4 channels in forward and grad_input; one workgroup = four channels in the sums.

#import linear
#import reduce

struct Params {
    pixels: u32,      // N*H*W
    groups: u32,      // channel groups of the value
    x_offset: u32,    // first group in a pixel of x
    x_stride: u32,    // groups of a pixel of x
    g_offset: u32,    // the same of grad_y
    g_stride: u32,
    out_offset: u32,  // the same of y, or of grad_x
    out_stride: u32,
    eps: f32,         // added to the variance
    momentum: f32,    // share of this batch in the running statistics
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                     // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;                // [C/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;                  // [C/4]
@group(0) @binding(4) var<storage, read_write> running_mean: array<vec4<f32>>;    // [C/4]
@group(0) @binding(5) var<storage, read_write> running_var: array<vec4<f32>>;     // [C/4]
@group(0) @binding(6) var<storage, read> mean: array<vec4<f32>>;                  // [C/4]
@group(0) @binding(7) var<storage, read> inv_std: array<vec4<f32>>;               // [C/4]
@group(0) @binding(8) var<storage, read> grad_y: array<vec4<f32>>;                // [N, H, W, C/4]
@group(0) @binding(9) var<storage, read> grad_weight: array<vec4<f32>>;           // [C/4]
@group(0) @binding(10) var<storage, read> grad_bias: array<vec4<f32>>;            // [C/4]
@group(0) @binding(11) var<storage, read_write> out: array<vec4<f32>>;            // y, grad_x, mean or grad_weight
@group(0) @binding(12) var<storage, read_write> second_out: array<vec4<f32>>;     // inv_std or grad_bias

const BLOCK: u32 = 4u; // pixels of one invocation
const RUN: u32 = 2048u; // pixels summed up before the sum joins the others: rounding must not grow with the picture

@compute @workgroup_size(64)
fn statistics(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; }
    let n = f32(params.pixels);
    // The mean of 64 pixels from all over the batch, or of all where there are fewer.
    let sampled = min(params.pixels, 64u);
    var some = vec4<f32>(0.0);
    if (lane < sampled) { some = x[lane * (params.pixels / sampled) * params.x_stride + params.x_offset + c]; }
    let rough = workgroup_sum(lane, some) / f32(sampled);
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        var part_squares = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            let v = x[p * params.x_stride + params.x_offset + c] - rough;
            part += v;
            part_squares += v * v;
        }
        sum += part;
        squares += part_squares;
    }
    let correction = workgroup_sum(lane, sum) / n;
    let variance = workgroup_sum(lane, squares) / n - correction * correction;
    if (lane == 0u) {
        let center = rough + correction;
        let v = variance + params.eps;
        out[c] = center;
        second_out[c] = select(1.0 / sqrt(v), vec4<f32>(0.0), v == vec4<f32>(0.0));
        running_mean[c] = (1.0 - params.momentum) * running_mean[c] + params.momentum * center;
        running_var[c] = (1.0 - params.momentum) * running_var[c] + params.momentum * variance * (n / (n - 1.0));
    }
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let first = (i / params.groups) * BLOCK;
    if (first >= params.pixels) { return; }
    let center = mean[c];
    let scale = weight[c] * inv_std[c];
    let shift = bias[c];
    for (var p = first; p < min(first + BLOCK, params.pixels); p++) {
        let v = x[p * params.x_stride + params.x_offset + c] - center;
        out[p * params.out_stride + params.out_offset + c] = v * scale + shift;
    }
}

@compute @workgroup_size(64)
fn grad_parameters(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; }
    let center = mean[c];
    var sum = vec4<f32>(0.0);
    var sum_v = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        var part_v = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            let g = grad_y[p * params.g_stride + params.g_offset + c];
            part += g;
            part_v += g * (x[p * params.x_stride + params.x_offset + c] - center);
        }
        sum += part;
        sum_v += part_v;
    }
    let total = workgroup_sum(lane, sum);
    let total_v = workgroup_sum(lane, sum_v);
    if (lane == 0u) {
        out[c] = total_v * inv_std[c];
        second_out[c] = total;
    }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let first = (i / params.groups) * BLOCK;
    if (first >= params.pixels) { return; }
    let n = f32(params.pixels);
    let center = mean[c];
    let scale = weight[c] * inv_std[c];
    let mean_g = grad_bias[c] / n;
    let slope = inv_std[c] * grad_weight[c] / n;
    for (var p = first; p < min(first + BLOCK, params.pixels); p++) {
        let g = grad_y[p * params.g_stride + params.g_offset + c];
        let v = x[p * params.x_stride + params.x_offset + c] - center;
        out[p * params.out_stride + params.out_offset + c] = scale * (g - mean_g - v * slope);
    }
}
