// conv2d_subgroup: conv2d's forward and grad_input, with the same sums in the same order, for adapters that compute on a CPU.
// One workgroup = one subgroup of 8 lanes = 16 pixels x 32 channels; lane l has channel group l of them and loads pixels l and
// l + 8, which the others take from its registers: a load costs such an adapter as much as ten multiplications, and here 6 of
// them serve 256 of these, where conv2d needs 12 for 128.
// Edges and letters: as in conv2d. All lanes go through the loops together: those without a channel group compute the last one
// again and store nothing.

#import linear
#import not_finite
#import activation
#import conv2d_registers
#import conv2d_taps

const LANES: u32 = 8u;      // of a subgroup
const PIXELS: u32 = 16u;    // of a workgroup

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.c_out + LANES - 1u) / LANES;
    let tile = group.x + group.y * groups.x;
    let p = tile / tiles * PIXELS;
    let co = tile % tiles * LANES + lane;
    if (p >= params.n * params.oh * params.ow) { return; }
    let column = min(co, params.c_out - 1u);
    let q0 = window_corner(pixel_of(p + lane, params.oh, params.ow));
    let q1 = window_corner(pixel_of(p + LANES + lane, params.oh, params.ow));
    var s0 = vec4<f32>(0.0);
    if (params.has_bias == 1u) { s0 = bias[column]; }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    var s8 = s0;
    var s9 = s0;
    var s10 = s0;
    var s11 = s0;
    var s12 = s0;
    var s13 = s0;
    var s14 = s0;
    var s15 = s0;
    for (var tap = 0u; tap < params.kh * params.kw; tap++) {
        let ky = tap / params.kw;
        let kx = tap - ky * params.kw;
        let a0 = seen_by_tap(q0, ky, kx);
        let a1 = seen_by_tap(q1, ky, kx);
        var at = tap * params.c_in * 4u * params.c_out + column;
        for (var c = 0u; c < params.c_in; c++) {
            let w0 = weight[at];
            let w1 = weight[at + params.c_out];
            let w2 = weight[at + 2u * params.c_out];
            let w3 = weight[at + 3u * params.c_out];
            at += 4u * params.c_out;
            let u = load_x(a0, c);
            let v = load_x(a1, c);
            s0 = times(subgroupBroadcast(u, 0u), w0, w1, w2, w3, s0);
            s1 = times(subgroupBroadcast(u, 1u), w0, w1, w2, w3, s1);
            s2 = times(subgroupBroadcast(u, 2u), w0, w1, w2, w3, s2);
            s3 = times(subgroupBroadcast(u, 3u), w0, w1, w2, w3, s3);
            s4 = times(subgroupBroadcast(u, 4u), w0, w1, w2, w3, s4);
            s5 = times(subgroupBroadcast(u, 5u), w0, w1, w2, w3, s5);
            s6 = times(subgroupBroadcast(u, 6u), w0, w1, w2, w3, s6);
            s7 = times(subgroupBroadcast(u, 7u), w0, w1, w2, w3, s7);
            s8 = times(subgroupBroadcast(v, 0u), w0, w1, w2, w3, s8);
            s9 = times(subgroupBroadcast(v, 1u), w0, w1, w2, w3, s9);
            s10 = times(subgroupBroadcast(v, 2u), w0, w1, w2, w3, s10);
            s11 = times(subgroupBroadcast(v, 3u), w0, w1, w2, w3, s11);
            s12 = times(subgroupBroadcast(v, 4u), w0, w1, w2, w3, s12);
            s13 = times(subgroupBroadcast(v, 5u), w0, w1, w2, w3, s13);
            s14 = times(subgroupBroadcast(v, 6u), w0, w1, w2, w3, s14);
            s15 = times(subgroupBroadcast(v, 7u), w0, w1, w2, w3, s15);
        }
    }
    store_y(p + 0u, co, s0);
    store_y(p + 1u, co, s1);
    store_y(p + 2u, co, s2);
    store_y(p + 3u, co, s3);
    store_y(p + 4u, co, s4);
    store_y(p + 5u, co, s5);
    store_y(p + 6u, co, s6);
    store_y(p + 7u, co, s7);
    store_y(p + 8u, co, s8);
    store_y(p + 9u, co, s9);
    store_y(p + 10u, co, s10);
    store_y(p + 11u, co, s11);
    store_y(p + 12u, co, s12);
    store_y(p + 13u, co, s13);
    store_y(p + 14u, co, s14);
    store_y(p + 15u, co, s15);
}

// Pixels of one phase, row and column modulo the stride, are seen by the same taps, every stride-th one. Workgroups of one
// phase come after another, as many for each as the largest needs.
@compute @workgroup_size(LANES)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.c_in + LANES - 1u) / LANES;
    let most_rows = (params.h + params.stride_h - 1u) / params.stride_h;
    let most_columns = (params.w + params.stride_w - 1u) / params.stride_w;
    let blocks = (params.n * most_rows * most_columns + PIXELS - 1u) / PIXELS;
    let tile = group.x + group.y * groups.x;
    let block = tile / tiles;
    let ci = tile % tiles * LANES + lane;
    let row = min(ci, params.c_in - 1u);
    let p = block % blocks * PIXELS;
    let phase = vec2<u32>(block / blocks / params.stride_w, block / blocks % params.stride_w);
    if (phase.x >= min(params.stride_h, params.h) || phase.y >= params.w) { return; }
    let rows = (params.h - phase.x + params.stride_h - 1u) / params.stride_h;
    let columns = (params.w - phase.y + params.stride_w - 1u) / params.stride_w;
    if (p >= params.n * rows * columns) { return; }
    let q0 = pixel_of(p + lane, rows, columns);
    let q1 = pixel_of(p + LANES + lane, rows, columns);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0);
    var s5 = vec4<f32>(0.0);
    var s6 = vec4<f32>(0.0);
    var s7 = vec4<f32>(0.0);
    var s8 = vec4<f32>(0.0);
    var s9 = vec4<f32>(0.0);
    var s10 = vec4<f32>(0.0);
    var s11 = vec4<f32>(0.0);
    var s12 = vec4<f32>(0.0);
    var s13 = vec4<f32>(0.0);
    var s14 = vec4<f32>(0.0);
    var s15 = vec4<f32>(0.0);
    let first = vec2<u32>(first_tap(phase.x + params.pad_h, params.kh, params.stride_h, params.dilation_h),
                          first_tap(phase.y + params.pad_w, params.kw, params.stride_w, params.dilation_w));
    for (var ky = first.x; ky < params.kh; ky += params.step_h) {
        // Exact: the phase was chosen so that the stride divides this.
        let dy = (i32(phase.x + params.pad_h) - i32(ky * params.dilation_h)) / i32(params.stride_h);
        for (var kx = first.y; kx < params.kw; kx += params.step_w) {
            let dx = (i32(phase.y + params.pad_w) - i32(kx * params.dilation_w)) / i32(params.stride_w);
            let a0 = seen_through_tap(q0, dy, dx);
            let a1 = seen_through_tap(q1, dy, dx);
            let at = ((ky * params.kw + kx) * params.c_in + row) * 4u * params.c_out;
            for (var c = 0u; c < params.c_out; c++) {
                let w0 = weight[at + c];
                let w1 = weight[at + c + params.c_out];
                let w2 = weight[at + c + 2u * params.c_out];
                let w3 = weight[at + c + 3u * params.c_out];
                let u = load_g(a0, c);
                let v = load_g(a1, c);
                s0 = times_transposed(subgroupBroadcast(u, 0u), w0, w1, w2, w3, s0);
                s1 = times_transposed(subgroupBroadcast(u, 1u), w0, w1, w2, w3, s1);
                s2 = times_transposed(subgroupBroadcast(u, 2u), w0, w1, w2, w3, s2);
                s3 = times_transposed(subgroupBroadcast(u, 3u), w0, w1, w2, w3, s3);
                s4 = times_transposed(subgroupBroadcast(u, 4u), w0, w1, w2, w3, s4);
                s5 = times_transposed(subgroupBroadcast(u, 5u), w0, w1, w2, w3, s5);
                s6 = times_transposed(subgroupBroadcast(u, 6u), w0, w1, w2, w3, s6);
                s7 = times_transposed(subgroupBroadcast(u, 7u), w0, w1, w2, w3, s7);
                s8 = times_transposed(subgroupBroadcast(v, 0u), w0, w1, w2, w3, s8);
                s9 = times_transposed(subgroupBroadcast(v, 1u), w0, w1, w2, w3, s9);
                s10 = times_transposed(subgroupBroadcast(v, 2u), w0, w1, w2, w3, s10);
                s11 = times_transposed(subgroupBroadcast(v, 3u), w0, w1, w2, w3, s11);
                s12 = times_transposed(subgroupBroadcast(v, 4u), w0, w1, w2, w3, s12);
                s13 = times_transposed(subgroupBroadcast(v, 5u), w0, w1, w2, w3, s13);
                s14 = times_transposed(subgroupBroadcast(v, 6u), w0, w1, w2, w3, s14);
                s15 = times_transposed(subgroupBroadcast(v, 7u), w0, w1, w2, w3, s15);
            }
        }
    }
    store_x(pixel_of(p + 0u, rows, columns), phase, ci, s0);
    store_x(pixel_of(p + 1u, rows, columns), phase, ci, s1);
    store_x(pixel_of(p + 2u, rows, columns), phase, ci, s2);
    store_x(pixel_of(p + 3u, rows, columns), phase, ci, s3);
    store_x(pixel_of(p + 4u, rows, columns), phase, ci, s4);
    store_x(pixel_of(p + 5u, rows, columns), phase, ci, s5);
    store_x(pixel_of(p + 6u, rows, columns), phase, ci, s6);
    store_x(pixel_of(p + 7u, rows, columns), phase, ci, s7);
    store_x(pixel_of(p + 8u, rows, columns), phase, ci, s8);
    store_x(pixel_of(p + 9u, rows, columns), phase, ci, s9);
    store_x(pixel_of(p + 10u, rows, columns), phase, ci, s10);
    store_x(pixel_of(p + 11u, rows, columns), phase, ci, s11);
    store_x(pixel_of(p + 12u, rows, columns), phase, ci, s12);
    store_x(pixel_of(p + 13u, rows, columns), phase, ci, s13);
    store_x(pixel_of(p + 14u, rows, columns), phase, ci, s14);
    store_x(pixel_of(p + 15u, rows, columns), phase, ci, s15);
}
