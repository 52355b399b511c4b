// conv2d by tiles in workgroup memory, for GPUs; formulas and edges are those of conv2d.wgsl. A product of matrices:
//   out[p,j] = sum over taps t and k of source[pixel that t sees from p, k] * weight[t,k,j]
//   forward: source is x, k an input channel, j an output channel; grad_input: source is grad_y, k and j the other way round.
//   then out += bias, out += addend, out = max(out, 0), and out = 0 where mask <= 0, each where asked for.
// Letters: four summands or channels are a "group"; a step of the sum is DEPTH groups; "split" s of a sum has its share of steps.
// Order of the sum: taps, then channels, split by split, in one fixed order.
// One workgroup = a tile of PIXELS x LANES_Y pixels and GROUPS x LANES_X channel groups; one invocation = PIXELS x GROUPS of it.

#import linear
#import not_finite
#import activation
#import conv2d_taps

override LANES_X: u32 = 8u; // invocations across the channel groups of a tile
override LANES_Y: u32 = 8u; // and down its pixels; DEPTH divides the product
override PIXELS: u32 = 4u;  // of an invocation: 4 or 8
override GROUPS: u32 = 1u;  // channel groups of an invocation: 1 or 2
override DEPTH: u32 = 4u;   // groups of summands in a step: an invocation loads at most two of the source

struct Params {
#import conv2d_sizes
    source_offset: u32, // first group in a pixel of x, or of grad_y
    source_stride: u32, // groups of a pixel of x, or of grad_y
    out_offset: u32,    // the same of the result
    out_stride: u32,
    pixels: u32,        // of the result
    columns: u32,       // channel groups of the result
    splits: u32,        // of each sum; more than one leave partial sums, for reduce
    tiles: u32,         // tiles down the pixels of a phase
    // What is done to a sum before it is stored: numbers and not constants, for each variant would be compiled by the driver.
    has_bias: u32,      // 0 or 1: adds bias
    has_addend: u32,    // 0 or 1: adds addend
    a_offset: u32,      // first group in a pixel of addend
    a_stride: u32,      // groups of a pixel of addend
    relu: u32,          // 0 or 1: out = max(out, 0), which a NaN passes
    has_mask: u32,      // 0 or 1: out = 0 where mask <= 0
    m_offset: u32,      // first group in a pixel of mask
    m_stride: u32,      // groups of a pixel of mask
    channels: u32,      // of the result, where there is an activation
    act_a: f32,         // numbers of the activation
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;    // [N, H, W, Cin/4], [N, OH, OW, Cout/4] or [splits, pixels, columns]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;    // [KH, KW, Cin, Cout/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [Cout/4]
@group(0) @binding(4) var<storage, read> addend: array<vec4<f32>>;    // residual of y's shape, or an earlier gradient of x's
@group(0) @binding(5) var<storage, read> mask: array<vec4<f32>>;      // [N, H, W, Cin/4]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>; // y, grad_x, or partial sums [splits, pixels, columns]

// One more than the pixels of a tile, so that what neighbouring invocations store falls into different banks.
var<workgroup> wg_source: array<vec4<f32>, (LANES_Y * PIXELS + 1u) * DEPTH>; // [group of summands][pixel]
var<workgroup> wg_weight: array<vec4<f32>, 4u * DEPTH * LANES_X * GROUPS>;   // [summand][channel group]

// The map of the result that a workgroup computes, and the taps that its sums run over. Of grad_input this is one phase: pixels
// of one row and column modulo the stride, which are all seen by the same taps, every stride-th one.
struct Domain {
    rows: u32,
    columns: u32,
    step: vec2<u32>,   // from a pixel of the map to the next, in the result
    start: vec2<u32>,  // the first pixel of the map, in the result
    corner: vec2<i32>, // what the first tap sees from there, in the source
    stride: vec2<u32>, // from what a tap sees from one pixel to what it sees from the next
    reach: vec2<u32>,  // from what a tap sees to what the next one sees
    taps: vec2<u32>,
    first: vec2<u32>,  // tap
    skip: vec2<u32>,   // from one tap to the next
}

fn forward_domain() -> Domain {
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let corner = vec2<i32>(-i32(params.pad_h), -i32(params.pad_w));
    let reach = vec2<u32>(params.dilation_h, params.dilation_w);
    return Domain(params.oh, params.ow, vec2<u32>(1u), vec2<u32>(0u), corner, stride, reach,
                  vec2<u32>(params.kh, params.kw), vec2<u32>(0u), vec2<u32>(1u));
}

fn backward_domain(phase: u32) -> Domain {
    let stride = vec2<u32>(params.stride_h, params.stride_w);
    let start = vec2<u32>(phase / params.stride_w, phase % params.stride_w);
    let size = (vec2<u32>(params.h, params.w) + stride - 1u - start) / stride;
    let padded = start + vec2<u32>(params.pad_h, params.pad_w);
    let dilation = vec2<u32>(params.dilation_h, params.dilation_w);
    let step = vec2<u32>(params.step_h, params.step_w);
    let first = vec2<u32>(first_tap(padded.x, params.kh, stride.x, dilation.x),
                          first_tap(padded.y, params.kw, stride.y, dilation.y));
    let taps = (vec2<u32>(params.kh, params.kw) + step - 1u - first) / step;
    // Exact where there is a tap: the first was chosen so that the stride divides this.
    let corner = (vec2<i32>(padded) - vec2<i32>(first * dilation)) / vec2<i32>(stride);
    let reach = step * dilation / stride;
    return Domain(size.x, size.y, stride, start, corner, vec2<u32>(1u), reach, taps, first, step);
}

// Pixel p of the map: (picture, row, column).
fn map_pixel(p: u32, map: Domain) -> vec3<u32> {
    let row = divide(p, map.columns);
    let picture = divide(row, map.rows);
    return vec3<u32>(picture, row - picture * map.rows, p - row * map.columns);
}

// What the first tap sees from pixel p: (first row of the picture, row, column), outside of everything beyond the last picture.
fn source_corner(p: u32, map: Domain, source_h: u32) -> vec3<i32> {
    let q = map_pixel(p, map);
    let corner = vec3<i32>(i32(q.x * source_h), map.corner + vec2<i32>(q.yz * map.stride));
    return select(vec3<i32>(0, -65536, -65536), corner, q.x < params.n);
}

// Where the sum stands: the number of the tap in both directions, and the group of summands within it.
struct Place {
    tap: vec2<u32>,
    group: u32,
}

fn advance(place: Place, groups: u32, columns: u32) -> Place {
    var next = place;
    next.group += DEPTH;
    while (next.group >= groups) {
        next.group -= groups;
        next.tap.y++;
        if (next.tap.y == columns) {
            next.tap = vec2<u32>(next.tap.x + 1u, 0u);
        }
    }
    return next;
}

// Four summands times a 4x4 block of weights, a row for each summand.
fn times(a: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}

fn finish(pixel: u32, column: u32, sum: vec4<f32>) {
    var value = sum;
    if (params.has_bias == 1u) { value += bias[column]; }
    if (params.has_addend == 1u) { value += addend[pixel * params.a_stride + params.a_offset + column]; }
    if (params.relu == 1u) { value = where_positive(value, value); }
    if (ACTIVATION != 0u) { value = activated_channels(column, params.channels, value, params.act_a, params.act_b); }
    if (params.has_mask == 1u) { value = where_positive(value, mask[pixel * params.m_stride + params.m_offset + column]); }
    out[pixel * params.out_stride + params.out_offset + column] = value;
}

fn store(p: u32, column: u32, map: Domain, size: vec2<u32>, split: u32, sum: vec4<f32>) {
    let q = map_pixel(p, map);
    if (q.x >= params.n || column >= params.columns) { return; }
    let at = map.start + q.yz * map.step;
    let pixel = (q.x * size.x + at.x) * size.y + at.y;
    if (params.splits > 1u) {
        out[(split * params.pixels + pixel) * params.columns + column] = sum;
    } else {
        finish(pixel, column, sum);
    }
}

fn product(index: u32, lane: u32, backward: bool) {
    let groups = select(params.c_in, params.c_out, backward); // of summands of a tap
    let tiles_x = (params.columns + LANES_X * GROUPS - 1u) / (LANES_X * GROUPS);
    let plane = index / (tiles_x * params.tiles);
    let phase = plane / params.splits;
    let split = plane - phase * params.splits;
    let tile = index - plane * tiles_x * params.tiles;
    var map = forward_domain();
    var source_size = vec2<u32>(params.h, params.w);
    var out_size = vec2<u32>(params.oh, params.ow);
    var phases = 1u;
    if (backward) {
        map = backward_domain(phase);
        source_size = vec2<u32>(params.oh, params.ow);
        out_size = vec2<u32>(params.h, params.w);
        phases = params.stride_h * params.stride_w;
    }
    let first_pixel = tile / tiles_x * LANES_Y * PIXELS;
    let first_column = tile % tiles_x * LANES_X * GROUPS;
    // The same for the whole workgroup: what the folding of the grid left over, and what a small phase has not.
    if (phase >= phases || first_pixel >= params.n * map.rows * map.columns) { return; }

    let steps = (map.taps.x * map.taps.y * groups + DEPTH - 1u) / DEPTH;
    let share = (steps + params.splits - 1u) / params.splits;
    let from_step = split * share;
    let to_step = min(from_step + share, steps);

    // This invocation loads one group of summands of one or two pixels.
    let depth = lane % DEPTH;
    let row = lane / DEPTH;
    let rows = LANES_X * LANES_Y / DEPTH;
    let two = LANES_Y * PIXELS > rows;
    let corner0 = source_corner(first_pixel + row, map, source_size.x);
    let corner1 = source_corner(first_pixel + row + rows, map, source_size.x);
    let start = from_step * DEPTH + depth;
    let tap = start / groups;
    let tap_row = tap / max(map.taps.y, 1u);
    var place = Place(vec2<u32>(tap_row, tap - tap_row * map.taps.y), start - tap * groups);

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
    for (var step = from_step; step < to_step; step++) {
        let reach = vec2<i32>(place.tap * map.reach);
        let seen = select(reach, -reach, backward);
        let summed = place.tap.x < map.taps.x;
        wg_source[depth * (LANES_Y * PIXELS + 1u) + row] = load(corner0, seen, place.group, source_size, summed);
        if (two) {
            wg_source[depth * (LANES_Y * PIXELS + 1u) + row + rows] = load(corner1, seen, place.group, source_size, summed);
        }
        if (backward) {
            // Blocks of 4x4, transposed on their way: in grad_input a row of weights is a result.
            let at = map.first + place.tap * map.skip;
            let first = (at.x * params.kw + at.y) * params.c_in * 4u * params.c_out + place.group;
            for (var j = row; j < LANES_X * GROUPS; j += rows) {
                let inside = summed && first_column + j < params.columns;
                let w = select(0u, first + (first_column + j) * 4u * params.c_out, inside);
                let w0 = select(vec4<f32>(0.0), weight[w], inside);
                let w1 = select(vec4<f32>(0.0), weight[w + params.c_out], inside);
                let w2 = select(vec4<f32>(0.0), weight[w + 2u * params.c_out], inside);
                let w3 = select(vec4<f32>(0.0), weight[w + 3u * params.c_out], inside);
                let to = depth * 4u * LANES_X * GROUPS + j;
                wg_weight[to] = vec4<f32>(w0.x, w1.x, w2.x, w3.x);
                wg_weight[to + LANES_X * GROUPS] = vec4<f32>(w0.y, w1.y, w2.y, w3.y);
                wg_weight[to + 2u * LANES_X * GROUPS] = vec4<f32>(w0.z, w1.z, w2.z, w3.z);
                wg_weight[to + 3u * LANES_X * GROUPS] = vec4<f32>(w0.w, w1.w, w2.w, w3.w);
            }
        } else {
            // Rows of weights follow each other as the sum does.
            let last = params.kh * params.kw * params.c_in * 4u;
            for (var i = lane; i < 4u * DEPTH * LANES_X * GROUPS; i += LANES_X * LANES_Y) {
                let k = step * 4u * DEPTH + i / (LANES_X * GROUPS);
                let column = first_column + i % (LANES_X * GROUPS);
                let inside = k < last && column < params.columns;
                wg_weight[i] = select(vec4<f32>(0.0), weight[select(0u, k * params.c_out + column, inside)], inside);
            }
        }
        place = advance(place, groups, map.taps.y);
        workgroupBarrier(); // the step is loaded
        for (var d = 0u; d < DEPTH; d++) {
            let a = d * (LANES_Y * PIXELS + 1u) + ty;
            let b = d * 4u * LANES_X * GROUPS + tx;
            let a0 = wg_source[a];
            let a1 = wg_source[a + LANES_Y];
            let a2 = wg_source[a + 2u * LANES_Y];
            let a3 = wg_source[a + 3u * LANES_Y];
            var a4 = a0;
            var a5 = a0;
            var a6 = a0;
            var a7 = a0;
            if (PIXELS == 8u) {
                a4 = wg_source[a + 4u * LANES_Y];
                a5 = wg_source[a + 5u * LANES_Y];
                a6 = wg_source[a + 6u * LANES_Y];
                a7 = wg_source[a + 7u * LANES_Y];
            }
            let v0 = wg_weight[b];
            let v1 = wg_weight[b + LANES_X * GROUPS];
            let v2 = wg_weight[b + 2u * LANES_X * GROUPS];
            let v3 = wg_weight[b + 3u * LANES_X * GROUPS];
            s00 = times(a0, v0, v1, v2, v3, s00);
            s01 = times(a1, v0, v1, v2, v3, s01);
            s02 = times(a2, v0, v1, v2, v3, s02);
            s03 = times(a3, v0, v1, v2, v3, s03);
            if (PIXELS == 8u) {
                s04 = times(a4, v0, v1, v2, v3, s04);
                s05 = times(a5, v0, v1, v2, v3, s05);
                s06 = times(a6, v0, v1, v2, v3, s06);
                s07 = times(a7, v0, v1, v2, v3, s07);
            }
            if (GROUPS == 2u) {
                let u0 = wg_weight[b + LANES_X];
                let u1 = wg_weight[b + LANES_X + LANES_X * GROUPS];
                let u2 = wg_weight[b + LANES_X + 2u * LANES_X * GROUPS];
                let u3 = wg_weight[b + LANES_X + 3u * LANES_X * GROUPS];
                s10 = times(a0, u0, u1, u2, u3, s10);
                s11 = times(a1, u0, u1, u2, u3, s11);
                s12 = times(a2, u0, u1, u2, u3, s12);
                s13 = times(a3, u0, u1, u2, u3, s13);
                if (PIXELS == 8u) {
                    s14 = times(a4, u0, u1, u2, u3, s14);
                    s15 = times(a5, u0, u1, u2, u3, s15);
                    s16 = times(a6, u0, u1, u2, u3, s16);
                    s17 = times(a7, u0, u1, u2, u3, s17);
                }
            }
        }
        workgroupBarrier(); // the step has been read
    }
    let p = first_pixel + ty;
    let column = first_column + tx;
    store(p, column, map, out_size, split, s00);
    store(p + LANES_Y, column, map, out_size, split, s01);
    store(p + 2u * LANES_Y, column, map, out_size, split, s02);
    store(p + 3u * LANES_Y, column, map, out_size, split, s03);
    if (PIXELS == 8u) {
        store(p + 4u * LANES_Y, column, map, out_size, split, s04);
        store(p + 5u * LANES_Y, column, map, out_size, split, s05);
        store(p + 6u * LANES_Y, column, map, out_size, split, s06);
        store(p + 7u * LANES_Y, column, map, out_size, split, s07);
    }
    if (GROUPS == 2u) {
        store(p, column + LANES_X, map, out_size, split, s10);
        store(p + LANES_Y, column + LANES_X, map, out_size, split, s11);
        store(p + 2u * LANES_Y, column + LANES_X, map, out_size, split, s12);
        store(p + 3u * LANES_Y, column + LANES_X, map, out_size, split, s13);
        if (PIXELS == 8u) {
            store(p + 4u * LANES_Y, column + LANES_X, map, out_size, split, s14);
            store(p + 5u * LANES_Y, column + LANES_X, map, out_size, split, s15);
            store(p + 6u * LANES_Y, column + LANES_X, map, out_size, split, s16);
            store(p + 7u * LANES_Y, column + LANES_X, map, out_size, split, s17);
        }
    }
}

// A group of summands that the tap sees, zero outside of the source.
fn load(corner: vec3<i32>, seen: vec2<i32>, group: u32, size: vec2<u32>, summed: bool) -> vec4<f32> {
    let at = corner.yz + seen;
    let inside = summed && u32(at.x) < size.x && u32(at.y) < size.y;
    let pixel = u32((corner.x + at.x) * i32(size.y) + at.y);
    let from_group = select(0u, pixel * params.source_stride + params.source_offset + group, inside);
    return select(vec4<f32>(0.0), source[from_group], inside);
}

@compute @workgroup_size(LANES_X * LANES_Y)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    product(group.x + group.y * groups.x, lane, false);
}

@compute @workgroup_size(LANES_X * LANES_Y)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    product(group.x + group.y * groups.x, lane, true);
}

// The sum of the splits. One invocation = one channel group of one pixel.
@compute @workgroup_size(WG)
fn reduce(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let count = params.pixels * params.columns;
    if (i >= count) { return; }
    var sum = source[i];
    for (var split = 1u; split < params.splits; split++) {
        sum += source[split * count + i];
    }
    let pixel = divide(i, params.columns);
    finish(pixel, i - pixel * params.columns, sum);
}
