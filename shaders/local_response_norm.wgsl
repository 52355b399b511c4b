// local_response_norm: y[n,c] = x[n,c] * d[n,c]^-beta with d[n,c] = k + scale * sum of x[n,j]^2 over the channels
// c - before <= j <= c + after of the same pixel; scale is alpha over the size of the window.
// grad_x[n,c] = grad_y[n,c] * d[n,c]^-beta - 2 * scale * beta * x[n,c] * sum of grad_y[n,j] * x[n,j] * d[n,j]^(-beta-1) over the
// channels j whose window holds c.
// Edges: channels that are not there are zero; the size of the window counts them.
// One invocation = four channels of one pixel.

#import linear

struct Params {
    pixels: u32,    // N*H*W
    groups: u32,    // channel groups of the value
    channels: u32,  // of the value
    before: u32,    // channels of the window before its own
    after: u32,     // and behind
    scale: f32,     // alpha over the size of the window
    beta: f32,
    k: f32,
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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x

fn load_x(p: u32, c: u32) -> f32 {
    return x[p * params.x_stride + params.x_offset + c / 4u][c % 4u];
}

fn load_g(p: u32, c: u32) -> f32 {
    return grad_y[p * params.g_stride + params.g_offset + c / 4u][c % 4u];
}

// The logarithm of d of a channel.
fn log_divisor(p: u32, c: u32) -> f32 {
    var sum = 0.0;
    for (var j = c - min(c, params.before); j < min(c + params.after + 1u, params.channels); j++) {
        let v = load_x(p, j);
        sum += v * v;
    }
    return log(params.k + params.scale * sum);
}

fn normed(p: u32, c: u32) -> f32 {
    if (c >= params.channels) { return 0.0; }
    return load_x(p, c) * exp(-params.beta * log_divisor(p, c));
}

fn slope(p: u32, c: u32) -> f32 {
    if (c >= params.channels) { return 0.0; }
    var sum = 0.0;
    for (var j = c - min(c, params.after); j < min(c + params.before + 1u, params.channels); j++) {
        sum += load_g(p, j) * load_x(p, j) * exp(-(params.beta + 1.0) * log_divisor(p, j));
    }
    let own = load_g(p, c) * exp(-params.beta * log_divisor(p, c));
    return own - 2.0 * params.scale * params.beta * load_x(p, c) * sum;
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = divide(i, params.groups);
    let c = i - p * params.groups;
    if (p >= params.pixels) { return; }
    out[p * params.out_stride + params.out_offset + c] =
        vec4<f32>(normed(p, 4u * c), normed(p, 4u * c + 1u), normed(p, 4u * c + 2u), normed(p, 4u * c + 3u));
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = divide(i, params.groups);
    let c = i - p * params.groups;
    if (p >= params.pixels) { return; }
    out[p * params.out_stride + params.out_offset + c] =
        vec4<f32>(slope(p, 4u * c), slope(p, 4u * c + 1u), slope(p, 4u * c + 2u), slope(p, 4u * c + 3u));
}
