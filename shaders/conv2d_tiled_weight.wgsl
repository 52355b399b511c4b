// conv2d's gradients of weight and bias by tiles in workgroup memory, for GPUs; formulas are those of conv2d.wgsl.
//   grad_weight[t,ci,co] = sum over pixels p of x[pixel that tap t sees from p, ci] * grad_y[p,co]; grad_bias[co] = sum of grad_y
// Letters: a "row" is four input channels of one tap, a "column" four output channels; "split" s of a sum has its share of pixels.
// Order of the sum: pixels, split by split, in one fixed order; conv2d_tiled.reduce adds the splits.
// One workgroup = a tile of ROWS x LANES_Y rows and GROUPS x LANES_X columns of one split; one invocation = ROWS x GROUPS of it.
// Steps are written out as in conv2d_tiled.wgsl, and where a load lies is carried from step to step without a division.

#import linear

#number LANES_X 8   // invocations across the columns of a tile
#number LANES_Y 8   // and down its rows
#number ROWS 1      // of an invocation: 1 or 2
#number GROUPS 1    // columns of an invocation: 1 or 2
#number DEPTH 16    // pixels in a step
#number X_LOADS 2   // rows that an invocation loads for a step
#number Y_LOADS 2   // columns that it loads

const_assert X_LOADS * LANES_X == DEPTH * ROWS;
const_assert Y_LOADS * LANES_Y == DEPTH * GROUPS;

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

var<workgroup> wg_x: array<array<array<vec4<f32>, LANES_Y>, ROWS>, DEPTH>;        // [pixel][row]
var<workgroup> wg_grad_y: array<array<array<vec4<f32>, LANES_X>, GROUPS>, DEPTH>; // [pixel][column]

// First pixel of a split and the one after its last, so that splits are whole steps of so many pixels.
fn range(split: u32, step: u32) -> vec2<u32> {
    let pixels = params.n * params.oh * params.ow;
    let steps = (pixels + step - 1u) / step;
    let share = (steps + params.splits - 1u) / params.splits * step;
    return vec2<u32>(split * share, min((split + 1u) * share, pixels));
}

// What a tap sees from an output pixel: its row and column in x, and its vector.
struct Seen {
    y: i32,
    x: i32,
    at: u32,
}

// From an output pixel to the one a step later, whose place is pictures, rows and columns further on; beyond the end of a row or of
// a picture it is on the next one, for it is less than one row and one picture further.
struct Walk {
    y: i32,         // rows of x that a step is down
    x: i32,         // columns that it is to the right
    at: u32,        // vectors
    end: vec2<i32>, // what the tap sees from beyond the last row and the last column
    size: vec2<i32>, // from what it sees from the first row and column to that
    row: u32,       // from beyond the end of a row to the next row, in vectors; against the direction of counting it overflows
    picture: u32,
}

fn walk_of(corner: vec2<i32>) -> Walk {
    let rows = DEPTH / params.ow;
    let pictures = rows / params.oh;
    let down = (rows - pictures * params.oh) * params.stride_h;
    let right = (DEPTH - rows * params.ow) * params.stride_w;
    let size = vec2<u32>(params.oh * params.stride_h, params.ow * params.stride_w);
    let at = ((pictures * params.h + down) * params.w + right) * params.x_stride;
    let row = (params.stride_h * params.w - size.y) * params.x_stride;
    let picture = (params.h - size.x) * params.w * params.x_stride;
    return Walk(i32(down), i32(right), at, corner + vec2<i32>(size), vec2<i32>(size), row, picture);
}

// The place of output pixel p, whose picture, row and column are looked for once.
fn seen_from(p: u32, corner: vec2<i32>) -> Seen {
    let row = p / params.ow;
    let picture = row / params.oh;
    let y = i32((row - picture * params.oh) * params.stride_h) + corner.x;
    let x = i32((p - row * params.ow) * params.stride_w) + corner.y;
    return Seen(y, x, u32((i32(picture * params.h) + y) * i32(params.w) + x) * params.x_stride + params.x_offset);
}

fn advance(seen: Seen, walk: Walk) -> Seen {
    var next = Seen(seen.y + walk.y, seen.x + walk.x, seen.at + walk.at);
    if (next.x >= walk.end.y) {
        next = Seen(next.y + i32(params.stride_h), next.x - walk.size.y, next.at + walk.row);
    }
    if (next.y >= walk.end.x) {
        next = Seen(next.y - walk.size.x, next.x, next.at + walk.picture);
    }
    return next;
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
    let corner = vec2<i32>(tap * vec2<u32>(params.dilation_h, params.dilation_w))
        - vec2<i32>(vec2<u32>(params.pad_h, params.pad_w));
    let walk = walk_of(corner);
    let size = vec2<u32>(params.h, params.w);
    // Beyond the last row and the last column there is nothing, as beyond the last pixel.
    let x_end = select(0u, part.y, first_row + row < rows);
    let x_pixel = lane / (LANES_Y * ROWS);
    #each i X_LOADS
    var seen{i} = seen_from(part.x + x_pixel + {i}u * (LANES_X / ROWS), corner);
    seen{i}.at += c;
    #end
    let column = lane % (LANES_X * GROUPS);
    let y_end = select(0u, part.y, first_column + column < params.c_out);
    let y_pixel = lane / (LANES_X * GROUPS);
    let y_step = DEPTH * params.y_stride;
    #each i Y_LOADS
    var y{i} = (part.x + y_pixel + {i}u * (LANES_Y / GROUPS)) * params.y_stride + params.y_offset + first_column + column;
    #end

    let tx = lane % LANES_X;
    let ty = lane / LANES_X;
    #each r ROWS
    #each g GROUPS
    var s{r}{g}0 = vec4<f32>(0.0);
    var s{r}{g}1 = vec4<f32>(0.0);
    var s{r}{g}2 = vec4<f32>(0.0);
    var s{r}{g}3 = vec4<f32>(0.0);
    #end
    #end
    for (var p = part.x; p < part.y; p += DEPTH) {
        #each i X_LOADS
        let inside{i} = p + x_pixel + {i}u * (LANES_X / ROWS) < x_end && u32(seen{i}.y) < size.x && u32(seen{i}.x) < size.y;
        let x{i} = x[select(0u, seen{i}.at, inside{i})];
        seen{i} = advance(seen{i}, walk);
        #end
        #each i Y_LOADS
        let summed{i} = p + y_pixel + {i}u * (LANES_Y / GROUPS) < y_end;
        let g{i} = grad_y[select(0u, y{i}, summed{i})];
        y{i} += y_step;
        #end
        #each i X_LOADS
        wg_x[x_pixel + {i}u * (LANES_X / ROWS)][row / LANES_Y][row % LANES_Y] = select(vec4<f32>(0.0), x{i}, inside{i});
        #end
        #each i Y_LOADS
        wg_grad_y[y_pixel + {i}u * (LANES_Y / GROUPS)][column / LANES_X][column % LANES_X] = select(vec4<f32>(0.0), g{i}, summed{i});
        #end
        workgroupBarrier(); // the step is in place
        #each d DEPTH
        {
            #each r ROWS
            let a{r} = wg_x[{d}][{r}][ty];
            #end
            #each g GROUPS
            let g{g} = wg_grad_y[{d}][{g}][tx];
            #each r ROWS
            s{r}{g}0 += a{r}.x * g{g};
            s{r}{g}1 += a{r}.y * g{g};
            s{r}{g}2 += a{r}.z * g{g};
            s{r}{g}3 += a{r}.w * g{g};
            #end
            #end
        }
        #end
        workgroupBarrier(); // the step has been read
    }
    #each r ROWS
    #each g GROUPS
    store(split, first_row + ty + {r}u * LANES_Y, first_column + tx + {g}u * LANES_X, s{r}{g}0, s{r}{g}1, s{r}{g}2, s{r}{g}3);
    #end
    #end
}

const BIAS_LANES: u32 = 64u;
const ACROSS: u32 = 16u; // columns, so that neighbouring invocations read neighbouring memory

var<workgroup> wg_sums: array<vec4<f32>, BIAS_LANES>;

// One workgroup = sixteen columns of one split.
@compute @workgroup_size(BIAS_LANES)
fn grad_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let index = group.x + group.y * groups.x;
    let tiles = (params.c_out + ACROSS - 1u) / ACROSS;
    let split = index / tiles;
    if (split >= params.splits) { return; } // the whole workgroup
    let column = (index - split * tiles) * ACROSS + lane % ACROSS;
    let part = range(split, BIAS_LANES / ACROSS);
    var sum = vec4<f32>(0.0);
    for (var p = part.x + lane / ACROSS; p < part.y; p += BIAS_LANES / ACROSS) {
        sum += load_grad_y(p, column, column < params.c_out);
    }
    wg_sums[lane] = sum;
    workgroupBarrier(); // every sum is in place
    if (lane < ACROSS && column < params.c_out) {
        let rest = wg_sums[lane + 2u * ACROSS] + wg_sums[lane + 3u * ACROSS];
        out[split * params.c_out + column] = (wg_sums[lane] + wg_sums[lane + ACROSS]) + rest;
    }
}
