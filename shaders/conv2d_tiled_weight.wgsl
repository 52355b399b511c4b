// conv2d's gradients of weight and bias by tiles in workgroup memory, for GPUs; formulas are those of conv2d.wgsl.
//   grad_weight[t,ci,co] = sum over pixels p of x[pixel that tap t sees from p, ci] * grad_y[p,co]; grad_bias[co] = sum of grad_y
// Letters: a "row" is four input channels of one tap, a "column" four output channels; "split" s of a sum has its share of pixels.
// Order of the sum: pixels, split by split, in one fixed order; conv2d_tiled.reduce adds the splits.
// One workgroup = a tile of ROWS x LANES_Y rows and GROUPS x LANES_X columns of one split; one invocation = ROWS x GROUPS of it.

#import linear

override LANES_X: u32 = 8u; // invocations across the columns of a tile
override LANES_Y: u32 = 8u; // and down its rows
override ROWS: u32 = 1u;    // of an invocation: 1 or 2
override GROUPS: u32 = 1u;  // columns of an invocation: 1 or 2
override DEPTH: u32 = 16u;  // pixels in a step, a multiple of what the invocations load at once: LANES_X / ROWS, LANES_Y / GROUPS

struct Params {
#import conv2d_sizes
    x_offset: u32,      // first group in a pixel of x
    x_stride: u32,      // groups of a pixel of x
    y_offset: u32,      // the same of grad_y
    y_stride: u32,
    splits: u32,        // of each sum
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [N, H, W, Cin/4]
@group(0) @binding(5) var<storage, read> grad_y: array<vec4<f32>>;    // [N, OH, OW, Cout/4]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>; // [splits, KH, KW, Cin, Cout/4] or [splits, Cout/4]

var<workgroup> wg_x: array<vec4<f32>, DEPTH * LANES_Y * ROWS>;        // [pixel][row]
var<workgroup> wg_grad_y: array<vec4<f32>, DEPTH * LANES_X * GROUPS>; // [pixel][column]

// First pixel of a split and the one after its last, so that splits are whole steps of so many pixels.
fn range(split: u32, step: u32) -> vec2<u32> {
    let pixels = params.n * params.oh * params.ow;
    let steps = (pixels + step - 1u) / step;
    let share = (steps + params.splits - 1u) / params.splits * step;
    return vec2<u32>(split * share, min((split + 1u) * share, pixels));
}

// Four input channels that a tap sees from output pixel p, zero outside of x.
fn load_x(p: u32, tap: vec2<u32>, c: u32, summed: bool) -> vec4<f32> {
    let row = divide(p, params.ow);
    let picture = divide(row, params.oh);
    let iy = i32((row - picture * params.oh) * params.stride_h + tap.x * params.dilation_h) - i32(params.pad_h);
    let ix = i32((p - row * params.ow) * params.stride_w + tap.y * params.dilation_w) - i32(params.pad_w);
    let inside = summed && u32(iy) < params.h && u32(ix) < params.w;
    let pixel = u32((i32(picture * params.h) + iy) * i32(params.w) + ix);
    return select(vec4<f32>(0.0), x[select(0u, pixel * params.x_stride + params.x_offset + c, inside)], inside);
}

fn load_grad_y(p: u32, column: u32, summed: bool) -> vec4<f32> {
    let at = select(0u, p * params.y_stride + params.y_offset + column, summed);
    return select(vec4<f32>(0.0), grad_y[at], summed);
}

fn store(split: u32, row: u32, column: u32, s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>) {
    let rows = params.kh * params.kw * params.c_in;
    if (row >= rows || column >= params.c_out) { return; }
    let at = (split * rows + row) * 4u * params.c_out + column;
    out[at] = s0;
    out[at + params.c_out] = s1;
    out[at + 2u * params.c_out] = s2;
    out[at + 3u * params.c_out] = s3;
}

@compute @workgroup_size(LANES_X * LANES_Y)
fn grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let index = group.x + group.y * groups.x;
    let rows = params.kh * params.kw * params.c_in;
    let tiles_x = (params.c_out + LANES_X * GROUPS - 1u) / (LANES_X * GROUPS);
    let tiles = tiles_x * ((rows + LANES_Y * ROWS - 1u) / (LANES_Y * ROWS));
    let split = index / tiles;
    let tile = index - split * tiles;
    if (split >= params.splits) { return; } // the whole workgroup: what the folding of the grid left over
    let first_row = tile / tiles_x * LANES_Y * ROWS;
    let first_column = tile % tiles_x * LANES_X * GROUPS;
    let part = range(split, DEPTH);

    // This invocation loads one row of some pixels, and one column of some.
    let row = lane % (LANES_Y * ROWS);
    let tap_row = (first_row + row) / params.c_in;
    let tap = vec2<u32>(tap_row / params.kw, tap_row % params.kw);
    let c = first_row + row - tap_row * params.c_in;
    let column = lane % (LANES_X * GROUPS);
    let tx = lane % LANES_X;
    let ty = lane / LANES_X;
    var s00 = vec4<f32>(0.0);
    var s01 = s00;
    var s02 = s00;
    var s03 = s00;
    var s04 = s00;
    var s05 = s00;
    var s06 = s00;
    var s07 = s00;
    var s10 = s00;
    var s11 = s00;
    var s12 = s00;
    var s13 = s00;
    var s14 = s00;
    var s15 = s00;
    var s16 = s00;
    var s17 = s00;
    for (var p = part.x; p < part.y; p += DEPTH) {
        for (var d = lane / (LANES_Y * ROWS); d < DEPTH; d += LANES_X / ROWS) {
            wg_x[d * LANES_Y * ROWS + row] = load_x(p + d, tap, c, first_row + row < rows && p + d < part.y);
        }
        for (var d = lane / (LANES_X * GROUPS); d < DEPTH; d += LANES_Y / GROUPS) {
            let inside = first_column + column < params.c_out && p + d < part.y;
            wg_grad_y[d * LANES_X * GROUPS + column] = load_grad_y(p + d, first_column + column, inside);
        }
        workgroupBarrier(); // the step is loaded
        for (var d = 0u; d < DEPTH; d++) {
            let a = wg_x[d * LANES_Y * ROWS + ty];
            let g = wg_grad_y[d * LANES_X * GROUPS + tx];
            s00 += a.x * g;
            s01 += a.y * g;
            s02 += a.z * g;
            s03 += a.w * g;
            var b = a;
            if (ROWS == 2u) {
                b = wg_x[d * LANES_Y * ROWS + LANES_Y + ty];
                s04 += b.x * g;
                s05 += b.y * g;
                s06 += b.z * g;
                s07 += b.w * g;
            }
            if (GROUPS == 2u) {
                let h = wg_grad_y[d * LANES_X * GROUPS + LANES_X + tx];
                s10 += a.x * h;
                s11 += a.y * h;
                s12 += a.z * h;
                s13 += a.w * h;
                if (ROWS == 2u) {
                    s14 += b.x * h;
                    s15 += b.y * h;
                    s16 += b.z * h;
                    s17 += b.w * h;
                }
            }
        }
        workgroupBarrier(); // the step has been read
    }
    store(split, first_row + ty, first_column + tx, s00, s01, s02, s03);
    if (ROWS == 2u) {
        store(split, first_row + LANES_Y + ty, first_column + tx, s04, s05, s06, s07);
    }
    if (GROUPS == 2u) {
        store(split, first_row + ty, first_column + LANES_X + tx, s10, s11, s12, s13);
        if (ROWS == 2u) {
            store(split, first_row + LANES_Y + ty, first_column + LANES_X + tx, s14, s15, s16, s17);
        }
    }
}

const LANES: u32 = 64u;
const ACROSS: u32 = 16u; // columns, so that neighbouring invocations read neighbouring memory

var<workgroup> wg_sums: array<vec4<f32>, LANES>;

// One workgroup = sixteen columns of one split.
@compute @workgroup_size(LANES)
fn grad_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let index = group.x + group.y * groups.x;
    let tiles = (params.c_out + ACROSS - 1u) / ACROSS;
    let split = index / tiles;
    if (split >= params.splits) { return; } // the whole workgroup
    let column = (index - split * tiles) * ACROSS + lane % ACROSS;
    let part = range(split, LANES / ACROSS);
    var sum = vec4<f32>(0.0);
    for (var p = part.x + lane / ACROSS; p < part.y; p += LANES / ACROSS) {
        sum += load_grad_y(p, column, column < params.c_out);
    }
    wg_sums[lane] = sum;
    workgroupBarrier(); // every sum is in place
    if (lane < ACROSS && column < params.c_out) {
        let rest = wg_sums[lane + 2u * ACROSS] + wg_sums[lane + 3u * ACROSS];
        out[split * params.c_out + column] = (wg_sums[lane] + wg_sums[lane + ACROSS]) + rest;
    }
}
