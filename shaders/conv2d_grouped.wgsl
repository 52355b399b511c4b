// conv2d_grouped: conv2d with groups of channels: y[n,co,oy,ox] = bias[co] + sum over k,ky,kx of
// x[n,bundle*bundle_in+k,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation] * weight[co,k,ky,kx]; then as conv2d's.
// Edges: as in conv2d. Sums run over taps, then over the channels of a bundle, in one fixed order.
// Letters: as in conv2d, where "group" is four channels; here "bundle" is what a convolution calls a group: bundle_in input
// channels, which bundle_out output channels see alone, and bundle = co / bundle_out. Rows of weight are those of one bundle,
// with zeros up to a multiple of four: [KH, KW, bundle_in, Cout/4].
// One invocation = 4 pixels x 4 channels in forward and grad_input, four rows of one tap x 4 channels x one split in grad_weight.

#import linear
#import not_finite
#import activation
#import conv2d_registers
#import conv2d_taps

// Whether bundles are whole vectors of four channels in x and in y. Others may share a vector, and are taken lane by lane.
override aligned: bool = false;

// The bundle of each of four channels, of which so many make one; that of the last channel for those that fill up a vector.
fn bundles_of(c: u32, size: u32) -> vec4<u32> {
    let channel = vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    return min(channel / vec4<u32>(size), vec4<u32>(params.bundles - 1u));
}

// One channel of x for each lane, where a tap sees it.
fn lanes_of_x(at: i32, channel: vec4<u32>) -> vec4<f32> {
    let base = u32(max(at, 0));
    let v = vec4<f32>(x[base + channel.x / 4u][channel.x % 4u], x[base + channel.y / 4u][channel.y % 4u],
                      x[base + channel.z / 4u][channel.z % 4u], x[base + channel.w / 4u][channel.w % 4u]);
    return select(vec4<f32>(0.0), v, at >= 0);
}

fn lanes_of_g(at: i32, channel: vec4<u32>) -> vec4<f32> {
    let base = u32(max(at, 0));
    let v = vec4<f32>(grad_y[base + channel.x / 4u][channel.x % 4u], grad_y[base + channel.y / 4u][channel.y % 4u],
                      grad_y[base + channel.z / 4u][channel.z % 4u], grad_y[base + channel.w / 4u][channel.w % 4u]);
    return select(vec4<f32>(0.0), v, at >= 0);
}

// Rows of weight of a tap.
fn rows_of_tap() -> u32 {
    return (params.bundle_in + 3u) / 4u * 4u;
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_out);
    let co = i - block * params.c_out;
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
    if (params.has_bias == 1u) { s0 = bias[co]; }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    let channels = bundles_of(co, params.bundle_out) * params.bundle_in;
    let rows = rows_of_tap();
    for (var tap = 0u; tap < params.kh * params.kw; tap++) {
        let ky = divide(tap, params.kw);
        let kx = tap - ky * params.kw;
        let a0 = seen_by_tap(q0, ky, kx);
        let a1 = seen_by_tap(q1, ky, kx);
        let a2 = seen_by_tap(q2, ky, kx);
        let a3 = seen_by_tap(q3, ky, kx);
        var at = tap * rows * params.c_out + co;
        if (aligned) {
            let first = channels.x / 4u;
            for (var c = first; c < first + params.bundle_in / 4u; c++) {
                let w0 = weight[at];
                let w1 = weight[at + params.c_out];
                let w2 = weight[at + 2u * params.c_out];
                let w3 = weight[at + 3u * params.c_out];
                at += 4u * params.c_out;
                s0 = times(load_x(a0, c), w0, w1, w2, w3, s0);
                s1 = times(load_x(a1, c), w0, w1, w2, w3, s1);
                s2 = times(load_x(a2, c), w0, w1, w2, w3, s2);
                s3 = times(load_x(a3, c), w0, w1, w2, w3, s3);
            }
        } else {
            for (var k = 0u; k < params.bundle_in; k++) {
                let w = weight[at];
                at += params.c_out;
                s0 += lanes_of_x(a0, channels + k) * w;
                s1 += lanes_of_x(a1, channels + k) * w;
                s2 += lanes_of_x(a2, channels + k) * w;
                s3 += lanes_of_x(a3, channels + k) * w;
            }
        }
    }
    store_y(p, co, s0);
    store_y(p + 1u, co, s1);
    store_y(p + 2u, co, s2);
    store_y(p + 3u, co, s3);
}

// grad_x[n,ci,iy,ix] = sum over the output channels of ci's bundle and the taps that see the pixel of
// grad_y[n,co,oy,ox] * weight[co,ci % bundle_in,ky,kx], finished as conv2d's.
// Pixels of one phase (row and column modulo the stride, one phase in each z) are seen by the same taps.
@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let block = divide(i, params.c_in);
    let ci = i - block * params.c_in;
    let p = block * 4u;
    let phase = vec2<u32>(group.z / params.stride_w, group.z % params.stride_w);
    if (phase.x >= params.h || phase.y >= params.w) { return; }
    let map_rows = (params.h - phase.x + params.stride_h - 1u) / params.stride_h;
    let map_columns = (params.w - phase.y + params.stride_w - 1u) / params.stride_w;
    if (p >= params.n * map_rows * map_columns) { return; }
    let q0 = pixel_of(p, map_rows, map_columns);
    let q1 = next_pixel(q0, map_rows, map_columns);
    let q2 = next_pixel(q1, map_rows, map_columns);
    let q3 = next_pixel(q2, map_rows, map_columns);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    let bundle = bundles_of(ci, params.bundle_in);
    let rows = rows_of_tap();
    let channel = vec4<u32>(ci * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    // Lanes beyond the last channel have no row: they compute another one again, and store zero.
    let real = channel < vec4<u32>(params.bundles * params.bundle_in);
    let row = select(vec4<u32>(0u), channel - bundle * params.bundle_in, real);
    let padded = phase + vec2<u32>(params.pad_h, params.pad_w);
    let first_kx = first_tap(padded.y, params.kw, params.stride_w, params.dilation_w);
    for (var ky = first_tap(padded.x, params.kh, params.stride_h, params.dilation_h); ky < params.kh; ky += params.step_h) {
        let dy = (i32(padded.x) - i32(ky * params.dilation_h)) / i32(params.stride_h);
        for (var kx = first_kx; kx < params.kw; kx += params.step_w) {
            let dx = (i32(padded.y) - i32(kx * params.dilation_w)) / i32(params.stride_w);
            let a0 = seen_through_tap(q0, dy, dx);
            let a1 = seen_through_tap(q1, dy, dx);
            let a2 = seen_through_tap(q2, dy, dx);
            let a3 = seen_through_tap(q3, dy, dx);
            let at = (ky * params.kw + kx) * rows * params.c_out;
            if (aligned) {
                let first = bundle.x * params.bundle_out / 4u;
                for (var c = first; c < first + params.bundle_out / 4u; c++) {
                    let w = at + row.x * params.c_out + c;
                    let w0 = weight[w];
                    let w1 = weight[w + params.c_out];
                    let w2 = weight[w + 2u * params.c_out];
                    let w3 = weight[w + 3u * params.c_out];
                    s0 = times_transposed(load_g(a0, c), w0, w1, w2, w3, s0);
                    s1 = times_transposed(load_g(a1, c), w0, w1, w2, w3, s1);
                    s2 = times_transposed(load_g(a2, c), w0, w1, w2, w3, s2);
                    s3 = times_transposed(load_g(a3, c), w0, w1, w2, w3, s3);
                }
            } else {
                for (var k = 0u; k < params.bundle_out; k++) {
                    let co = bundle * params.bundle_out + k;
                    let w = vec4<u32>(at) + row * params.c_out + co / 4u;
                    let v = vec4<f32>(weight[w.x][co.x % 4u], weight[w.y][co.y % 4u], weight[w.z][co.z % 4u],
                                      weight[w.w][co.w % 4u]);
                    s0 += lanes_of_g(a0, co) * v;
                    s1 += lanes_of_g(a1, co) * v;
                    s2 += lanes_of_g(a2, co) * v;
                    s3 += lanes_of_g(a3, co) * v;
                }
            }
        }
    }
    store_x(q0, phase, ci, select(vec4<f32>(0.0), s0, real));
    store_x(q1, phase, ci, select(vec4<f32>(0.0), s1, real));
    store_x(q2, phase, ci, select(vec4<f32>(0.0), s2, real));
    store_x(q3, phase, ci, select(vec4<f32>(0.0), s3, real));
}

// grad_weight[co,k,ky,kx] = sum over n,oy,ox of grad_y[n,co,oy,ox] * x[n,bundle*bundle_in+k,...], split by split, which
// conv2d_tiled.reduce adds up. Rows that fill up a bundle are zero.
@compute @workgroup_size(WG)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let rest = divide(i, params.c_out);
    let co = i - rest * params.c_out;
    let quads = rows_of_tap() / 4u;
    let above = divide(rest, quads);
    let k = (rest - above * quads) * 4u; // first of the four rows
    let tap = above % (params.kh * params.kw);
    let split = above / (params.kh * params.kw);
    if (split >= params.splits) { return; }
    let ky = tap / params.kw;
    let kx = tap - ky * params.kw;
    let pixels = params.n * params.oh * params.ow;
    let share = (pixels + params.splits - 1u) / params.splits;
    let end = min((split + 1u) * share, pixels);
    let channels = bundles_of(co, params.bundle_out) * params.bundle_in;
    let last = params.bundle_in - 1u;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    var q = pixel_of(split * share, params.oh, params.ow);
    for (var p = split * share; p < end; p++) {
        let at = seen_by_tap(window_corner(q), ky, kx);
        let g = grad_y[p * params.y_stride + params.y_offset + co];
        q = next_pixel(q, params.oh, params.ow);
        if (aligned) {
            let a = load_x(at, (channels.x + k) / 4u);
            s0 += a.x * g;
            s1 += a.y * g;
            s2 += a.z * g;
            s3 += a.w * g;
        } else {
            s0 += lanes_of_x(at, channels + k) * g;
            s1 += lanes_of_x(at, channels + min(k + 1u, last)) * g;
            s2 += lanes_of_x(at, channels + min(k + 2u, last)) * g;
            s3 += lanes_of_x(at, channels + min(k + 3u, last)) * g;
        }
    }
    let to = (above * quads * 4u + k) * params.c_out + co;
    out[to] = s0;
    out[to + params.c_out] = select(vec4<f32>(0.0), s1, k + 1u <= last);
    out[to + 2u * params.c_out] = select(vec4<f32>(0.0), s2, k + 2u <= last);
    out[to + 3u * params.c_out] = select(vec4<f32>(0.0), s3, k + 3u <= last);
}
