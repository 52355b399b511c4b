// conv2d: y[n,co,oy,ox] = bias[co] + sum over ci,ky,kx of x[n,ci,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation] * weight[co,ci,ky,kx],
// then y += residual, and y = max(y, 0) or another activation of y where asked for.
// Edges: outside of x is zero. Sums run over taps, then over channels, in one fixed order. A NaN passes max(., 0).
// Letters: pixels are counted through the batch; "group" is four channels; one row of weight is one input channel.
// One invocation = 8 pixels x 4 channels in forward and grad_input (an implicit GEMM held in registers: on a CPU each load
// costs as much as ten multiplications, and 12 loads serve 128 of them), 8 x 4 weights of one tap in grad_weight.

#import linear
#import not_finite
#import activation
#import reduce
#import conv2d_registers
#import conv2d_taps

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_out);
    let co = i - block * params.c_out;
    let p = block * 8u;
    if (p >= params.n * params.oh * params.ow) { return; }
    let p0 = pixel_of(p, params.oh, params.ow);
    let p1 = next_pixel(p0, params.oh, params.ow);
    let p2 = next_pixel(p1, params.oh, params.ow);
    let p3 = next_pixel(p2, params.oh, params.ow);
    let p4 = next_pixel(p3, params.oh, params.ow);
    let p5 = next_pixel(p4, params.oh, params.ow);
    let p6 = next_pixel(p5, params.oh, params.ow);
    let p7 = next_pixel(p6, params.oh, params.ow);
    let q0 = window_corner(p0);
    let q1 = window_corner(p1);
    let q2 = window_corner(p2);
    let q3 = window_corner(p3);
    let q4 = window_corner(p4);
    let q5 = window_corner(p5);
    let q6 = window_corner(p6);
    let q7 = window_corner(p7);
    var s0 = vec4<f32>(0.0);
    if (params.has_bias == 1u) { s0 = bias[co]; }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    for (var tap = 0u; tap < params.kh * params.kw; tap++) {
        let ky = divide(tap, params.kw);
        let kx = tap - ky * params.kw;
        let a0 = seen_by_tap(q0, ky, kx);
        let a1 = seen_by_tap(q1, ky, kx);
        let a2 = seen_by_tap(q2, ky, kx);
        let a3 = seen_by_tap(q3, ky, kx);
        let a4 = seen_by_tap(q4, ky, kx);
        let a5 = seen_by_tap(q5, ky, kx);
        let a6 = seen_by_tap(q6, ky, kx);
        let a7 = seen_by_tap(q7, ky, kx);
        var at = tap * params.c_in * 4u * params.c_out + co;
        for (var c = 0u; c < params.c_in; c++) {
            let w0 = weight[at];
            let w1 = weight[at + params.c_out];
            let w2 = weight[at + 2u * params.c_out];
            let w3 = weight[at + 3u * params.c_out];
            at += 4u * params.c_out;
            s0 = times(load_x(a0, c), w0, w1, w2, w3, s0);
            s1 = times(load_x(a1, c), w0, w1, w2, w3, s1);
            s2 = times(load_x(a2, c), w0, w1, w2, w3, s2);
            s3 = times(load_x(a3, c), w0, w1, w2, w3, s3);
            s4 = times(load_x(a4, c), w0, w1, w2, w3, s4);
            s5 = times(load_x(a5, c), w0, w1, w2, w3, s5);
            s6 = times(load_x(a6, c), w0, w1, w2, w3, s6);
            s7 = times(load_x(a7, c), w0, w1, w2, w3, s7);
        }
    }
    store_y(p, co, s0);
    store_y(p + 1u, co, s1);
    store_y(p + 2u, co, s2);
    store_y(p + 3u, co, s3);
    store_y(p + 4u, co, s4);
    store_y(p + 5u, co, s5);
    store_y(p + 6u, co, s6);
    store_y(p + 7u, co, s7);
}

// grad_x[n,ci,iy,ix] = sum over co and the taps that see the pixel of grad_y[n,co,oy,ox] * weight[co,ci,ky,kx],
// then grad_x += addend, another gradient of x, and grad_x = 0 where x <= 0, as a relu before x wants it, where asked for.
// A gather without atomics: pixels of one phase (row and column modulo the stride, one phase in each z) are seen by the same
// taps, every stride-th one without dilation, so that no tap is tried in vain.

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_in);
    let ci = i - block * params.c_in;
    let p = block * 8u;
    let phase = vec2<u32>(group.z / params.stride_w, group.z % params.stride_w);
    if (phase.x >= params.h || phase.y >= params.w) { return; }
    let rows = (params.h - phase.x + params.stride_h - 1u) / params.stride_h;
    let columns = (params.w - phase.y + params.stride_w - 1u) / params.stride_w;
    if (p >= params.n * rows * columns) { return; }
    let q0 = pixel_of(p, rows, columns);
    let q1 = next_pixel(q0, rows, columns);
    let q2 = next_pixel(q1, rows, columns);
    let q3 = next_pixel(q2, rows, columns);
    let q4 = next_pixel(q3, rows, columns);
    let q5 = next_pixel(q4, rows, columns);
    let q6 = next_pixel(q5, rows, columns);
    let q7 = next_pixel(q6, rows, columns);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0);
    var s5 = vec4<f32>(0.0);
    var s6 = vec4<f32>(0.0);
    var s7 = vec4<f32>(0.0);
    let first = vec2<u32>(first_tap(phase.x + params.pad_h, params.kh, params.stride_h, params.dilation_h),
                          first_tap(phase.y + params.pad_w, params.kw, params.stride_w, params.dilation_w));
    for (var ky = first.x; ky < params.kh; ky += params.step_h) {
        // Exact: the phase was chosen so that the stride divides this.
        let dy = (i32(phase.x + params.pad_h) - i32(ky * params.dilation_h)) / i32(params.stride_h);
        for (var kx = first.y; kx < params.kw; kx += params.step_w) {
            let dx = (i32(phase.y + params.pad_w) - i32(kx * params.dilation_w)) / i32(params.stride_w);
            let a0 = seen_through_tap(q0, dy, dx);
            let a1 = seen_through_tap(q1, dy, dx);
            let a2 = seen_through_tap(q2, dy, dx);
            let a3 = seen_through_tap(q3, dy, dx);
            let a4 = seen_through_tap(q4, dy, dx);
            let a5 = seen_through_tap(q5, dy, dx);
            let a6 = seen_through_tap(q6, dy, dx);
            let a7 = seen_through_tap(q7, dy, dx);
            let at = ((ky * params.kw + kx) * params.c_in + ci) * 4u * params.c_out;
            for (var c = 0u; c < params.c_out; c++) {
                let w0 = weight[at + c];
                let w1 = weight[at + c + params.c_out];
                let w2 = weight[at + c + 2u * params.c_out];
                let w3 = weight[at + c + 3u * params.c_out];
                s0 = times_transposed(load_g(a0, c), w0, w1, w2, w3, s0);
                s1 = times_transposed(load_g(a1, c), w0, w1, w2, w3, s1);
                s2 = times_transposed(load_g(a2, c), w0, w1, w2, w3, s2);
                s3 = times_transposed(load_g(a3, c), w0, w1, w2, w3, s3);
                s4 = times_transposed(load_g(a4, c), w0, w1, w2, w3, s4);
                s5 = times_transposed(load_g(a5, c), w0, w1, w2, w3, s5);
                s6 = times_transposed(load_g(a6, c), w0, w1, w2, w3, s6);
                s7 = times_transposed(load_g(a7, c), w0, w1, w2, w3, s7);
            }
        }
    }
    store_x(q0, phase, ci, s0);
    store_x(q1, phase, ci, s1);
    store_x(q2, phase, ci, s2);
    store_x(q3, phase, ci, s3);
    store_x(q4, phase, ci, s4);
    store_x(q5, phase, ci, s5);
    store_x(q6, phase, ci, s6);
    store_x(q7, phase, ci, s7);
}

// grad_weight[co,ci,ky,kx] = sum over n,oy,ox of grad_y[n,co,oy,ox] * x[n,ci,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation]
@compute @workgroup_size(WG)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let pairs = (params.c_in + 1u) / 2u; // input channel groups, two by two
    let block = divide(i, params.c_out);
    let co = i - block * params.c_out;
    let tap = divide(block, pairs);
    let ci = (block - tap * pairs) * 2u;
    if (tap >= params.kh * params.kw) { return; }
    let ky = divide(tap, params.kw);
    let kx = tap - ky * params.kw;
    let second = min(ci + 1u, params.c_in - 1u); // the last pair may be half empty: then it computes one group twice
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0);
    var s5 = vec4<f32>(0.0);
    var s6 = vec4<f32>(0.0);
    var s7 = vec4<f32>(0.0);
    var q = vec3<u32>(0u);
    for (var p = 0u; p < params.n * params.oh * params.ow; p++) {
        let at = seen_by_tap(window_corner(q), ky, kx);
        q = next_pixel(q, params.oh, params.ow);
        if (at == NOWHERE) { continue; }
        let g = grad_y[p * params.y_stride + params.y_offset + co];
        let a = x[u32(at) + ci];
        let b = x[u32(at) + second];
        s0 += a.x * g;
        s1 += a.y * g;
        s2 += a.z * g;
        s3 += a.w * g;
        s4 += b.x * g;
        s5 += b.y * g;
        s6 += b.z * g;
        s7 += b.w * g;
    }
    var at = (tap * params.c_in + ci) * 4u * params.c_out + co;
    out[at] = s0;
    out[at + params.c_out] = s1;
    out[at + 2u * params.c_out] = s2;
    out[at + 3u * params.c_out] = s3;
    if (second == ci) { return; }
    at += 4u * params.c_out;
    out[at] = s4;
    out[at + params.c_out] = s5;
    out[at + 2u * params.c_out] = s6;
    out[at + 3u * params.c_out] = s7;
}

// grad_bias[co] = sum over n,oy,ox of grad_y[n,co,oy,ox]. One workgroup = four channels.
@compute @workgroup_size(64)
fn grad_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let co = group.x + group.y * groups.x;
    if (co >= params.c_out) { return; }
    var sum = vec4<f32>(0.0);
    for (var p = lane; p < params.n * params.oh * params.ow; p += 64u) {
        sum += grad_y[p * params.y_stride + params.y_offset + co];
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) { out[co] = total; }
}
