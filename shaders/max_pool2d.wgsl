// max_pool2d: y[n,c,oy,ox] = max over ky,kx of x[n,c,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation]
// grad_x[n,c,iy,ix] = sum of grad_y over the windows whose argmax is (iy, ix): a gather, in row-major order of the windows.
// Edges: padding is minus infinity, which is to say that windows are clipped; a window holds a pixel always. The first maximum
// in row-major order wins: a later one replaces it only if strictly greater, or NaN. argmax = iy * W + ix.
// One invocation = four channels of one pixel of y in forward, of grad_x in grad_input.

#import linear
#import not_finite
#import window

struct Params {
    n: u32,         // pictures
    h: u32,         // input height
    w: u32,
    groups: u32,    // channel groups
    oh: u32,        // output height
    ow: u32,
    kh: u32,        // window height
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,     // pixels above and to the left
    pad_w: u32,
    dilation_h: u32, // from a tap to the next
    dilation_w: u32,
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                   // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> argmax: array<vec4<u32>>;              // [N, OH, OW, C/4]
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;              // [N, OH, OW, C/4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;           // y or grad_x
@group(0) @binding(5) var<storage, read_write> out_argmax: array<vec4<u32>>;    // [N, OH, OW, C/4]

// Pixels from the first to the last tap of a window.
fn reach(taps: u32, dilation: u32) -> u32 {
    return (taps - 1u) * dilation + 1u;
}

// The first pixel that a tap of a window sees, whose first tap may lie in the padding.
fn first_seen(start: i32, dilation: u32) -> u32 {
    let taps = (u32(max(-start, 0)) + dilation - 1u) / dilation;
    return u32(start + i32(taps * dilation));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.oh * params.ow) { return; }
    let picture = p / (params.oh * params.ow);
    let top = i32(((p / params.ow) % params.oh) * params.stride_h) - i32(params.pad_h);
    let left = i32((p % params.ow) * params.stride_w) - i32(params.pad_w);
    let y0 = first_seen(top, params.dilation_h);
    let x0 = first_seen(left, params.dilation_w);
    let y1 = min(u32(top + i32(reach(params.kh, params.dilation_h))), params.h);
    let x1 = min(u32(left + i32(reach(params.kw, params.dilation_w))), params.w);
    // The first pixel is its own rival below, which changes nothing.
    var index = vec4<u32>(y0 * params.w + x0);
    var best = x[((picture * params.h + y0) * params.w + x0) * params.x_stride + params.x_offset + c];
    for (var iy = y0; iy < y1; iy += params.dilation_h) {
        for (var ix = x0; ix < x1; ix += params.dilation_w) {
            let v = x[((picture * params.h + iy) * params.w + ix) * params.x_stride + params.x_offset + c];
            let better = (v > best) | is_nan(v);
            best = select(best, v, better);
            index = select(index, vec4<u32>(iy * params.w + ix), better);
        }
    }
    out[p * params.y_stride + params.y_offset + c] = best;
    out_argmax[i] = index;
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.h * params.w) { return; }
    let picture = p / (params.h * params.w);
    let index = vec4<u32>(p % (params.h * params.w));
    let down = (p / params.w) % params.h + params.pad_h;
    let right = p % params.w + params.pad_w;
    let end_oy = end_window(down, params.stride_h, params.oh);
    // Of windows around the pixel those whose taps miss it have another argmax.
    let first_ox = first_window(right, reach(params.kw, params.dilation_w), params.stride_w);
    let end_ox = end_window(right, params.stride_w, params.ow);
    var sum = vec4<f32>(0.0);
    for (var oy = first_window(down, reach(params.kh, params.dilation_h), params.stride_h); oy < end_oy; oy++) {
        for (var ox = first_ox; ox < end_ox; ox++) {
            let q = (picture * params.oh + oy) * params.ow + ox;
            let g = grad_y[q * params.y_stride + params.y_offset + c];
            sum += select(vec4<f32>(0.0), g, argmax[q * params.groups + c] == index);
        }
    }
    out[p * params.x_stride + params.x_offset + c] = sum;
}
