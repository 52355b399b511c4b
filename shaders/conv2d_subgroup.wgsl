// conv2d_subgroup: conv2d and its gradients for adapters that compute on a CPU. The sums of forward and grad_input have the same
// summands in the same order as conv2d's.
// One workgroup = one subgroup of 8 lanes = PIXELS pixels x 32 channels in forward and grad_input, where lane l has channel group l
// of them and loads every eighth pixel, which the others take from its registers; 64 rows x 32 channels of the weights in
// grad_weight, a row being a tap and an input channel.
// Such an adapter loads lane by lane through memory: nine tenths of the time are loads. Here 12 of them serve 1024 multiplications
// with 64 pixels, 8 serve 512 with 32, and 6 serve 256 with 16; conv2d needs 12 for 128.
// Edges and letters: as in conv2d. All lanes go through the loops together: those without a channel group compute the last one
// again and store nothing.

#import linear
#import not_finite
#import activation
#import conv2d_registers
#import conv2d_taps

#number LANES 8     // of a subgroup
#number LOADS 2     // of pixels by each lane: more where there are many pixels
#number ROW_LOADS 2 // of grad_weight's rows of x by each lane
#number STEPS 2     // pixels that grad_weight adds at a time

const PIXELS: u32 = LOADS * LANES;   // of a workgroup
const ROWS: u32 = ROW_LOADS * LANES; // of a workgroup, in groups of four

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.c_out + LANES - 1u) / LANES;
    let tile = group.x + group.y * groups.x;
    let p = tile / tiles * PIXELS;
    let co = tile % tiles * LANES + lane;
    if (p >= params.n * params.oh * params.ow) { return; }
    let column = min(co, params.c_out - 1u);
    var start = vec4<f32>(0.0);
    if (params.has_bias == 1u) { start = bias[column]; }
    #each i LOADS
    let q{i} = window_corner(pixel_of(p + {i}u * LANES + lane, params.oh, params.ow));
    #each l LANES
    var s{i}{l} = start;
    #end
    #end
    for (var tap = 0u; tap < params.kh * params.kw; tap++) {
        let ky = tap / params.kw;
        let kx = tap - ky * params.kw;
        #each i LOADS
        let a{i} = seen_by_tap(q{i}, ky, kx);
        #end
        var at = tap * params.c_in * 4u * params.c_out + column;
        for (var c = 0u; c < params.c_in; c++) {
            let w0 = weight[at];
            let w1 = weight[at + params.c_out];
            let w2 = weight[at + 2u * params.c_out];
            let w3 = weight[at + 3u * params.c_out];
            at += 4u * params.c_out;
            #each i LOADS
            let u{i} = load_x(a{i}, c);
            #each l LANES
            s{i}{l} = times(subgroupBroadcast(u{i}, {l}u), w0, w1, w2, w3, s{i}{l});
            #end
            #end
        }
    }
    #each i LOADS
    #each l LANES
    store_y(p + {i}u * LANES + {l}u, co, s{i}{l});
    #end
    #end
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
    #each i LOADS
    let q{i} = pixel_of(p + {i}u * LANES + lane, rows, columns);
    #each l LANES
    var s{i}{l} = vec4<f32>(0.0);
    #end
    #end
    let first = vec2<u32>(first_tap(phase.x + params.pad_h, params.kh, params.stride_h, params.dilation_h),
                          first_tap(phase.y + params.pad_w, params.kw, params.stride_w, params.dilation_w));
    for (var ky = first.x; ky < params.kh; ky += params.step_h) {
        // Exact: the phase was chosen so that the stride divides this.
        let dy = (i32(phase.x + params.pad_h) - i32(ky * params.dilation_h)) / i32(params.stride_h);
        for (var kx = first.y; kx < params.kw; kx += params.step_w) {
            let dx = (i32(phase.y + params.pad_w) - i32(kx * params.dilation_w)) / i32(params.stride_w);
            #each i LOADS
            let a{i} = seen_through_tap(q{i}, dy, dx);
            #end
            let at = ((ky * params.kw + kx) * params.c_in + row) * 4u * params.c_out;
            for (var c = 0u; c < params.c_out; c++) {
                let w0 = weight[at + c];
                let w1 = weight[at + c + params.c_out];
                let w2 = weight[at + c + 2u * params.c_out];
                let w3 = weight[at + c + 3u * params.c_out];
                #each i LOADS
                let u{i} = load_g(a{i}, c);
                #each l LANES
                s{i}{l} = times_transposed(subgroupBroadcast(u{i}, {l}u), w0, w1, w2, w3, s{i}{l});
                #end
                #end
            }
        }
    }
    #each i LOADS
    #each l LANES
    store_x(pixel_of(p + {i}u * LANES + {l}u, rows, columns), phase, ci, s{i}{l});
    #end
    #end
}

// grad_weight[co,ci,ky,kx] = sum over n,oy,ox of grad_y[n,co,oy,ox] * x[n,ci,oy*stride-padding+ky*dilation,ox*stride-padding+kx*dilation].
// Rows are counted through taps, then groups of four input channels, so that few channels leave no lanes idle. Pixels come in
// params.splits parts, each into its own sums.
@compute @workgroup_size(LANES)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let rows = params.kh * params.kw * params.c_in;
    let tiles = (params.c_out + LANES - 1u) / LANES;
    let tile = group.x + group.y * groups.x;
    let block = tile / tiles;
    let blocks = (rows + ROWS - 1u) / ROWS;
    let part = block / blocks;
    if (part >= params.splits) { return; }
    let co = tile % tiles * LANES + lane;
    let column = min(co, params.c_out - 1u);
    let first = block % blocks * ROWS;
    #each i ROW_LOADS
    let row{i} = min(first + {i}u * LANES + lane, rows - 1u);
    let tap{i} = row{i} / params.c_in;
    let ci{i} = row{i} % params.c_in;
    let ky{i} = tap{i} / params.kw;
    let kx{i} = tap{i} % params.kw;
    #each l LANES
    #each k 4
    var s{i}{l}{k} = vec4<f32>(0.0);
    #end
    #end
    #end
    let pixels = params.n * params.oh * params.ow;
    let length = (pixels + params.splits - 1u) / params.splits;
    let end = min((part + 1u) * length, pixels);
    var q = pixel_of(part * length, params.oh, params.ow);
    for (var p = part * length; p < end; p += STEPS) {
        #each t STEPS
        let g{t} = grad_y[min(p + {t}u, end - 1u) * params.y_stride + params.y_offset + column];
        let corner{t} = window_corner(q);
        q = next_pixel(q, params.oh, params.ow);
        #each i ROW_LOADS
        let u{t}{i} = load_x(select(NOWHERE, seen_by_tap(corner{t}, ky{i}, kx{i}), p + {t}u < end), ci{i});
        #end
        #end
        #each i ROW_LOADS
        #each l LANES
        #each t STEPS
        let v{t}{i}{l} = subgroupBroadcast(u{t}{i}, {l}u);
        s{i}{l}0 += v{t}{i}{l}.x * g{t};
        s{i}{l}1 += v{t}{i}{l}.y * g{t};
        s{i}{l}2 += v{t}{i}{l}.z * g{t};
        s{i}{l}3 += v{t}{i}{l}.w * g{t};
        #end
        #end
        #end
    }
    #each i ROW_LOADS
    #each l LANES
    if (first + {i}u * LANES + {l}u < rows && co < params.c_out) {
        let at = ((part * rows + first + {i}u * LANES + {l}u) * 4u) * params.c_out + co;
        out[at] = s{i}{l}0;
        out[at + params.c_out] = s{i}{l}1;
        out[at + 2u * params.c_out] = s{i}{l}2;
        out[at + 3u * params.c_out] = s{i}{l}3;
    }
    #end
    #end
}
