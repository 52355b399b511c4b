// activation: y = f(x) for the functions of shared/activation.wgsl; grad_x = grad_y * f'(x), with f' as a function of x in
// grad_input, and as one of y in grad_result, where x is gone: a convolution has taken f in.
// Edges: f' where f has a kink is torch's: 0 at both limits of a clip and of the hard functions, but for hard swish 1 at 3; the
// slope of what lies below for leaky relu and ELU at 0. A NaN in x, in y or in grad_y stays one.
// One invocation = four channels of one pixel.

#import linear
#import not_finite
#import activation

struct Params {
    vectors: u32,   // vec4s of the value
    groups: u32,    // channel groups of the value
    channels: u32,  // of the value
    a: f32,         // lower limit, slope, alpha or beta
    b: f32,         // upper limit or threshold
    v_offset: u32,  // first group in a pixel of x, or of y where that is read
    v_stride: u32,  // groups of a pixel of it
    g_offset: u32,  // the same of grad_y
    g_stride: u32,
    out_offset: u32, // the same of y, or of grad_x
    out_stride: u32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> value: array<vec4<f32>>;        // x or y, [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x

// f'(x).
fn slope(x: vec4<f32>) -> vec4<f32> {
    let a = params.a;
    let b = params.b;
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    var s = one;
    if (ACTIVATION == 1u) { s = select(zero, one, (x > vec4<f32>(a)) & (x < vec4<f32>(b))); }
    if (ACTIVATION == 2u) { s = select(vec4<f32>(a), one, x > zero); }
    if (ACTIVATION == 3u) { s = sigmoid(x) * sigmoid(-x); }
    if (ACTIVATION == 4u) { s = sigmoid(x) * (1.0 + x * sigmoid(-x)); }
    if (ACTIVATION == 5u) { s = select(zero, vec4<f32>(1.0 / 6.0), abs(x) < vec4<f32>(3.0)); }
    if (ACTIVATION == 6u) { s = select(select(zero, one, x >= vec4<f32>(3.0)), x / 3.0 + 0.5, abs(x) < vec4<f32>(3.0)); }
    if (ACTIVATION == 7u) { s = normal_share(x) + 0.39894228 * x * exp(-0.5 * x * x); }
    if (ACTIVATION == 8u) {
        let u = twice_gelu_argument(x);
        s = sigmoid(u) * (1.0 + x * sigmoid(-u) * 1.5957691 * (1.0 + 0.134145 * x * x));
    }
    if (ACTIVATION == 9u) {
        let e = exp(-2.0 * abs(x));
        s = 4.0 * e / ((1.0 + e) * (1.0 + e));
    }
    if (ACTIVATION == 10u) { s = select(a * exp(min(x, zero)), one, x > zero); }
    if (ACTIVATION == 11u) { s = select(sigmoid(x * a), one, x * a > vec4<f32>(b)); }
    return select(s, x, is_nan(x));
}

// f'(x) from y = f(x), where y says enough.
fn slope_of_result(y: vec4<f32>) -> vec4<f32> {
    let a = params.a;
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    var s = one;
    if (ACTIVATION == 1u) { s = select(zero, one, (y > vec4<f32>(a)) & (y < vec4<f32>(params.b))); }
    if (ACTIVATION == 2u) { s = select(vec4<f32>(a), one, y > zero); }
    if (ACTIVATION == 3u) { s = y * (1.0 - y); }
    if (ACTIVATION == 5u) { s = select(zero, vec4<f32>(1.0 / 6.0), (y > zero) & (y < one)); }
    if (ACTIVATION == 9u) { s = (1.0 - y) * (1.0 + y); }
    if (ACTIVATION == 10u) { s = select(y + a, one, y > zero); }
    if (ACTIVATION == 11u) { s = one_minus_power(min(-a * y, zero)); }
    return select(s, y, is_nan(y));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let x = value[pixel * params.v_stride + params.v_offset + c];
    out[pixel * params.out_stride + params.out_offset + c] = activated_channels(c, params.channels, x, params.a, params.b);
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let x = value[pixel * params.v_stride + params.v_offset + c];
    let g = grad_y[pixel * params.g_stride + params.g_offset + c];
    out[pixel * params.out_stride + params.out_offset + c] = g * slope(x);
}

@compute @workgroup_size(WG)
fn grad_result(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let y = value[pixel * params.v_stride + params.v_offset + c];
    let g = grad_y[pixel * params.g_stride + params.g_offset + c];
    out[pixel * params.out_stride + params.out_offset + c] = g * slope_of_result(y);
}
