// batch_norm: y = (x - running_mean) * weight / sqrt(running_var + eps) + bias, channel by channel, statistics frozen.
// grad_x = grad_y * weight / sqrt(running_var + eps);
// grad_weight = sum over n,h,w of grad_y * (x - running_mean) / sqrt(running_var + eps); grad_bias = sum of grad_y.
// Edges: where running_var + eps is 0, as in padding lanes without eps, the factor is 0 and not infinite.
// Letters: pixels are counted through the batch; "group" is four channels.
// One invocation = 4 pixels x 4 channels in forward and grad_input, so that the root is taken once for four pixels;
// one workgroup = four channels in grad_weight and grad_bias.

#import linear
#import reduce

struct Params {
    pixels: u32,    // N*H*W
    groups: u32,    // channel groups of the value
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    eps: f32,       // added to the variance
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;          // [C/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;            // [C/4]
@group(0) @binding(4) var<storage, read> running_mean: array<vec4<f32>>;    // [C/4]
@group(0) @binding(5) var<storage, read> running_var: array<vec4<f32>>;     // [C/4]
@group(0) @binding(6) var<storage, read> grad_y: array<vec4<f32>>;          // [N, H, W, C/4]
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;       // y, grad_x, grad_weight or grad_bias

const BLOCK: u32 = 4u; // pixels of one invocation
const RUN: u32 = 2048u; // pixels summed up before the sum joins the others: rounding must not grow with the picture

fn inv_std(c: u32) -> vec4<f32> {
    let v = running_var[c] + params.eps;
    return select(1.0 / sqrt(v), vec4<f32>(0.0), v == vec4<f32>(0.0));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let first = (i / params.groups) * BLOCK;
    if (first >= params.pixels) { return; }
    let mean = running_mean[c];
    let scale = weight[c] * inv_std(c);
    let shift = bias[c];
    for (var p = first; p < min(first + BLOCK, params.pixels); p++) {
        // The mean goes first: taken into the shift, it would cancel with x where both are large.
        let v = x[p * params.x_stride + params.x_offset + c] - mean;
        out[p * params.y_stride + params.y_offset + c] = v * scale + shift;
    }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let first = (i / params.groups) * BLOCK;
    if (first >= params.pixels) { return; }
    let scale = weight[c] * inv_std(c);
    for (var p = first; p < min(first + BLOCK, params.pixels); p++) {
        out[p * params.x_stride + params.x_offset + c] = grad_y[p * params.y_stride + params.y_offset + c] * scale;
    }
}

@compute @workgroup_size(64)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let c = group.x + group.y * groups.x;
    if (c >= params.groups) { return; }
    let mean = running_mean[c];
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < params.pixels; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, params.pixels); p += 64u) {
            let v = x[p * params.x_stride + params.x_offset + c] - mean;
            part += grad_y[p * params.y_stride + params.y_offset + c] * v;
        }
        sum += part;
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[c] = total * inv_std(c); }
}

@compute @workgroup_size(64)
fn grad_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
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
