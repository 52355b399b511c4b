// conv2d_depthwise: conv2d with as many groups as channels: y[n,c,oy,ox] = bias[c] + sum over ky,kx of
// x[n,c,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation] * weight[c,0,ky,kx]; then as conv2d's.
// Edges: as in conv2d. Sums run over taps in one fixed order.
// Letters: as in conv2d. A tap has four rows of weight, as every filter, of which the first is the channel's and three are zero.
// One invocation = 4 pixels x 4 channels in forward and grad_input, one row of one tap x 4 channels x one split in grad_weight.

#import linear
#import not_finite
#import activation
#import conv2d_registers
#import conv2d_taps

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_out);
    let c = i - block * params.c_out;
    let p = block * 4u;
    if (p >= params.n * params.oh * params.ow) { return; }
    let p0 = pixel_of(p, params.oh, params.ow);
    let p1 = next_pixel(p0, params.oh, params.ow);
    let p2 = next_pixel(p1, params.oh, params.ow);
    let p3 = next_pixel(p2, params.oh, params.ow);
    let q0 = window_corner(p0);
    let q1 = window_corner(p1);
    let q2 = window_corner(p2);
    let q3 = window_corner(p3);
    var s0 = vec4<f32>(0.0);
    if (params.has_bias == 1u) { s0 = bias[c]; }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var at = c;
    for (var ky = 0u; ky < params.kh; ky++) {
        for (var kx = 0u; kx < params.kw; kx++) {
            let w = weight[at];
            at += 4u * params.c_out;
            s0 += load_x(seen_by_tap(q0, ky, kx), c) * w;
            s1 += load_x(seen_by_tap(q1, ky, kx), c) * w;
            s2 += load_x(seen_by_tap(q2, ky, kx), c) * w;
            s3 += load_x(seen_by_tap(q3, ky, kx), c) * w;
        }
    }
    store_y(p, c, s0);
    store_y(p + 1u, c, s1);
    store_y(p + 2u, c, s2);
    store_y(p + 3u, c, s3);
}

// grad_x[n,c,iy,ix] = sum over the taps that see the pixel of grad_y[n,c,oy,ox] * weight[c,0,ky,kx], finished as conv2d's.
// Pixels of one phase (row and column modulo the stride, one phase in each z) are seen by the same taps.
@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_in);
    let c = i - block * params.c_in;
    let p = block * 4u;
    let phase = vec2<u32>(group.z / params.stride_w, group.z % params.stride_w);
    if (phase.x >= params.h || phase.y >= params.w) { return; }
    let rows = (params.h - phase.x + params.stride_h - 1u) / params.stride_h;
    let columns = (params.w - phase.y + params.stride_w - 1u) / params.stride_w;
    if (p >= params.n * rows * columns) { return; }
    let q0 = pixel_of(p, rows, columns);
    let q1 = next_pixel(q0, rows, columns);
    let q2 = next_pixel(q1, rows, columns);
    let q3 = next_pixel(q2, rows, columns);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    let padded = phase + vec2<u32>(params.pad_h, params.pad_w);
    let first_kx = first_tap(padded.y, params.kw, params.stride_w, params.dilation_w);
    for (var ky = first_tap(padded.x, params.kh, params.stride_h, params.dilation_h); ky < params.kh; ky += params.step_h) {
        let dy = (i32(padded.x) - i32(ky * params.dilation_h)) / i32(params.stride_h);
        for (var kx = first_kx; kx < params.kw; kx += params.step_w) {
            let dx = (i32(padded.y) - i32(kx * params.dilation_w)) / i32(params.stride_w);
            let w = weight[(ky * params.kw + kx) * 4u * params.c_out + c];
            s0 += load_g(seen_through_tap(q0, dy, dx), c) * w;
            s1 += load_g(seen_through_tap(q1, dy, dx), c) * w;
            s2 += load_g(seen_through_tap(q2, dy, dx), c) * w;
            s3 += load_g(seen_through_tap(q3, dy, dx), c) * w;
        }
    }
    store_x(q0, phase, c, s0);
    store_x(q1, phase, c, s1);
    store_x(q2, phase, c, s2);
    store_x(q3, phase, c, s3);
}

// grad_weight[c,0,ky,kx] = sum over n,oy,ox of grad_y[n,c,oy,ox] * x[n,c,...], split by split; conv2d_tiled.reduce adds them up.
@compute @workgroup_size(WG)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let rest = divide(i, params.c_out);
    let c = i - rest * params.c_out;
    let tap = (rest / 4u) % (params.kh * params.kw);
    let split = rest / (4u * params.kh * params.kw);
    if (split >= params.splits) { return; }
    var sum = vec4<f32>(0.0);
    if (rest % 4u == 0u) {
        let ky = tap / params.kw;
        let kx = tap - ky * params.kw;
        let pixels = params.n * params.oh * params.ow;
        let share = (pixels + params.splits - 1u) / params.splits;
        let end = min((split + 1u) * share, pixels);
        var q = pixel_of(split * share, params.oh, params.ow);
        for (var p = split * share; p < end; p++) {
            let g = grad_y[p * params.y_stride + params.y_offset + c];
            sum += load_x(seen_by_tap(window_corner(q), ky, kx), c) * g;
            q = next_pixel(q, params.oh, params.ow);
        }
    }
    out[i] = sum;
}
