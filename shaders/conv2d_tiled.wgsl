// conv2d by tiles in workgroup memory, for GPUs; formulas and edges are those of conv2d.wgsl. A product of matrices:
//   out[p,j] = sum over taps t and k of source[pixel that t sees from p, k] * weight[t,k,j]
//   forward: source is x, k an input channel, j an output channel; grad_input: source is grad_y, k and j the other way round.
//   then out += bias, out += addend, out = max(out, 0) or another activation of it, and out = 0 where mask <= 0 or outside of
//   limits, each where asked for.
// Letters: four summands or channels are a "group"; a step of the sum is DEPTH groups; "split" s of a sum has its share of steps.
// Order of the sum: taps, then channels, split by split, in one fixed order.
// One workgroup = a tile of PIXELS x LANES_Y pixels and GROUPS x LANES_X channel groups; one invocation = PIXELS x GROUPS of it.
// Steps are written out, and a sum finds its summands under indices that are digits but for its own place among the lanes: what
// is left to compute in a step besides the sums is where its loads lie, and that is carried and not multiplied.

#import linear
#import not_finite
#import activation
#import conv2d_taps

#number LANES_X 8      // invocations across the channel groups of a tile
#number LANES_Y 8      // and down its pixels
#number PIXELS 4       // of an invocation
#number GROUPS 1       // channel groups of an invocation
#number DEPTH 4        // groups of summands in a step: 2 or 4
#number SOURCE_LOADS 2 // groups of summands that an invocation loads for a step
#number WEIGHT_LOADS 2 // vectors of weights that it loads
#number WRAPS 1        // taps that a step may go on by: 1 where a tap has DEPTH groups at least, DEPTH otherwise
#number AHEAD 0        // 1: a step is loaded into registers while the one before is summed

const LANES: u32 = LANES_X * LANES_Y;
const_assert SOURCE_LOADS * LANES == PIXELS * LANES_Y * DEPTH;
const_assert WEIGHT_LOADS * LANES == 4u * DEPTH * GROUPS * LANES_X;

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
    masking: u32,       // 1: out = 0 where mask <= 0; 2: where mask <= act_a or mask >= act_b
    m_offset: u32,      // first group in a pixel of mask
    m_stride: u32,      // groups of a pixel of mask
    channels: u32,      // of the result, where there is an activation
    act_a: f32,         // numbers of the activation, or limits of mask
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;    // [N, H, W, Cin/4], [N, OH, OW, Cout/4] or [splits, pixels, columns]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;    // [KH, KW, Cin, Cout/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [Cout/4]
@group(0) @binding(4) var<storage, read> addend: array<vec4<f32>>;    // residual of y's shape, or an earlier gradient of x's
@group(0) @binding(5) var<storage, read> mask: array<vec4<f32>>;      // [N, H, W, Cin/4]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>; // y, grad_x, or partial sums [splits, pixels, columns]

// Gaps move what neighbouring invocations store into different banks: eight vec4s are as wide as all banks are.
struct Slab {
    at: array<array<vec4<f32>, LANES_Y>, PIXELS>,
    gap: array<vec4<f32>, 8u / DEPTH>,
}

struct Row {
    at: array<array<vec4<f32>, LANES_X>, GROUPS>,
    gap: vec4<f32>,
}

struct Block {
    rows: array<Row, 4>,
    gap: array<vec4<f32>, 8u / DEPTH + 4u>,
}

var<workgroup> wg_source: array<Slab, DEPTH>;  // [group of summands][pixel]
var<workgroup> wg_weight: array<Block, DEPTH>; // [group of summands][one of four summands, or in grad_input results][channel group]

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

// Where the sum stands: how far the tap is from the first one in the source, the group of summands within it, and how far that is
// from the first group of the first tap, in vectors of the source and of the weights.
struct Place {
    seen: vec2<u32>,
    group: u32,
    source: u32,
    weight: u32,
}

// From one place to the next: what is added at each step, at each tap, and at each row of taps besides.
struct Walk {
    groups: u32,         // of a tap
    reach: vec2<u32>,    // from what a tap sees to what the next one sees
    end: vec2<u32>,      // beyond the last tap
    source_tap: u32,
    source_row: u32,
    weight_step: u32,
    weight_tap: u32,
    weight_row: u32,
}

fn advance(place: Place, walk: Walk) -> Place {
    var next = place;
    next.group += DEPTH;
    next.source += DEPTH;
    next.weight += walk.weight_step;
    #each wrap WRAPS
    if (next.group >= walk.groups) {
        next.group -= walk.groups;
        next.seen.y += walk.reach.y;
        next.source += walk.source_tap;
        next.weight += walk.weight_tap;
        if (next.seen.y == walk.end.y) {
            next.seen = vec2<u32>(next.seen.x + walk.reach.x, 0u);
            next.source += walk.source_row;
            next.weight += walk.weight_row;
        }
    }
    #end
    return next;
}

// What this invocation loads at the first place.
struct Loader {
    size: vec2<u32>, // of the source
    last: u32,       // beyond the last row of taps, as it is seen
    #each i SOURCE_LOADS
    corner{i}: vec2<i32>,
    source{i}: u32,
    #end
    #each i WEIGHT_LOADS
    weight{i}: u32,
    limit{i}: u32, // of the vectors that are weights of its columns
    #end
}

// What it has loaded for a step; what does not exist counts as zero.
struct Step {
    #each i SOURCE_LOADS
    source{i}: vec4<f32>,
    seen{i}: bool,
    #end
    #each i WEIGHT_LOADS
    weight{i}: vec4<f32>,
    known{i}: bool,
    #end
}

fn load(loader: Loader, place: Place, backward: bool) -> Step {
    var step: Step;
    let summed = place.seen.x < loader.last;
    #each i SOURCE_LOADS
    let at{i} = select(loader.corner{i} + vec2<i32>(place.seen), loader.corner{i} - vec2<i32>(place.seen), backward);
    step.seen{i} = summed && u32(at{i}.x) < loader.size.x && u32(at{i}.y) < loader.size.y;
    step.source{i} = source[select(0u, loader.source{i} + place.source, step.seen{i})];
    #end
    #each i WEIGHT_LOADS
    let w{i} = loader.weight{i} + place.weight;
    step.known{i} = w{i} < loader.limit{i} && (summed || !backward);
    step.weight{i} = weight[select(0u, w{i}, step.known{i})];
    #end
    return step;
}

// Source: consecutive invocations have the groups of one pixel. Weights: those of one row forwards, where a row is a summand; the
// groups of one row backwards, where it is a result, so that loads are contiguous in both.
fn keep(step: Step, lane: u32, backward: bool) {
    let depth = lane % DEPTH;
    let row = lane / DEPTH;
    let zero = vec4<f32>(0.0);
    #each i SOURCE_LOADS
    {
        let pixel = row + {i}u * (LANES / DEPTH);
        wg_source[depth].at[pixel / LANES_Y][pixel % LANES_Y] = select(zero, step.source{i}, step.seen{i});
    }
    #end
    #each i WEIGHT_LOADS
    if (backward) {
        let column = row / 4u + {i}u * (LANES / DEPTH / 4u);
        wg_weight[depth].rows[row % 4u].at[column / LANES_X][column % LANES_X] = select(zero, step.weight{i}, step.known{i});
    } else {
        let k = lane / (LANES_X * GROUPS) + {i}u * (LANES_Y / GROUPS);
        let column = lane % (LANES_X * GROUPS);
        wg_weight[k / 4u].rows[k % 4u].at[column / LANES_X][column % LANES_X] = select(zero, step.weight{i}, step.known{i});
    }
    #end
}

// Four summands times a 4x4 block of weights: a row for each summand, or in grad_input for each result.
fn times(a: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sum: vec4<f32>, backward: bool) -> vec4<f32> {
    if (backward) {
        let x = vec4<f32>(w0.x, w1.x, w2.x, w3.x);
        let y = vec4<f32>(w0.y, w1.y, w2.y, w3.y);
        let z = vec4<f32>(w0.z, w1.z, w2.z, w3.z);
        let w = vec4<f32>(w0.w, w1.w, w2.w, w3.w);
        return sum + a.x * x + a.y * y + a.z * z + a.w * w;
    }
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}

fn finish(pixel: u32, column: u32, sum: vec4<f32>) {
    var value = sum;
    if (params.has_bias == 1u) { value += bias[column]; }
    if (params.has_addend == 1u) { value += addend[pixel * params.a_stride + params.a_offset + column]; }
    if (params.relu == 1u) { value = where_positive(value, value); }
    if (ACTIVATION != 0u) { value = activated_channels(column, params.channels, value, params.act_a, params.act_b); }
    if (params.masking == 1u) { value = where_positive(value, mask[pixel * params.m_stride + params.m_offset + column]); }
    if (params.masking == 2u) {
        value = where_between(value, mask[pixel * params.m_stride + params.m_offset + column], params.act_a, params.act_b);
    }
    out[pixel * params.out_stride + params.out_offset + column] = value;
}

// Pixel p of the map in the result, or one beyond it. Without steps between pixels the map is the result.
fn result_pixel(p: u32, map: Domain, size: vec2<u32>) -> u32 {
    if (all(map.step == vec2<u32>(1u))) { return p; }
    let q = map_pixel(p, map);
    let at = map.start + q.yz * map.step;
    return select(params.pixels, (q.x * size.x + at.x) * size.y + at.y, q.x < params.n);
}

fn store(pixel: u32, column: u32, split: u32, sum: vec4<f32>) {
    if (pixel >= params.pixels || column >= params.columns) { return; }
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

    // Distances in vectors, of which those against the direction of counting are numbers that overflow.
    let row_of_source = source_size.y * params.source_stride;
    let row_of_weight = params.c_in * 4u * params.c_out; // all weights of a tap
    let reach = map.reach.x * row_of_source;
    let along = map.reach.y * params.source_stride;
    var walk = Walk(groups, map.reach, map.taps * map.reach, along - groups, reach - map.taps.y * along,
                    4u * DEPTH * params.c_out, 0u, 0u);
    if (backward) {
        walk.source_tap = 0u - along - groups;
        walk.source_row = map.taps.y * along - reach;
        walk.weight_step = DEPTH;
        walk.weight_tap = map.skip.y * row_of_weight - groups;
        walk.weight_row = (map.skip.x * params.kw - map.taps.y * map.skip.y) * row_of_weight;
    }

    let depth = lane % DEPTH;
    let row = lane / DEPTH;
    let start = from_step * DEPTH + depth;
    let tap = start / groups;
    let tap_y = tap / max(map.taps.y, 1u);
    let tap_x = tap - tap_y * map.taps.y;
    var place = Place(vec2<u32>(tap_y, tap_x) * map.reach, start - tap * groups, 0u, from_step * walk.weight_step);
    place.source = place.group + select(tap_y * reach + tap_x * along, 0u - tap_y * reach - tap_x * along, backward);
    var loader: Loader;
    loader.size = source_size;
    loader.last = walk.end.x;
    #each i SOURCE_LOADS
    let corner{i} = source_corner(first_pixel + row + {i}u * (LANES / DEPTH), map, source_size.x);
    loader.corner{i} = corner{i}.yz;
    loader.source{i} = u32((corner{i}.x + corner{i}.y) * i32(source_size.y) + corner{i}.z) * params.source_stride
        + params.source_offset;
    #end
    if (backward) {
        place.weight = (((map.first.x + tap_y * map.skip.x) * params.kw) + map.first.y + tap_x * map.skip.y) * row_of_weight
            + place.group;
        #each i WEIGHT_LOADS
        let column{i} = first_column + row / 4u + {i}u * (LANES / DEPTH / 4u);
        loader.weight{i} = (column{i} * 4u + row % 4u) * params.c_out;
        loader.limit{i} = select(0u, 0xffffffffu, column{i} < params.columns);
        #end
    } else {
        let column = first_column + lane % (LANES_X * GROUPS);
        let limit = select(0u, params.kh * params.kw * row_of_weight, column < params.columns);
        #each i WEIGHT_LOADS
        loader.weight{i} = (lane / (LANES_X * GROUPS) + {i}u * (LANES_Y / GROUPS)) * params.c_out + column;
        loader.limit{i} = limit;
        #end
    }

    let tx = lane % LANES_X;
    let ty = lane / LANES_X;
    #each g GROUPS
    #each p PIXELS
    var s{g}{p} = vec4<f32>(0.0);
    #end
    #end
    var next: Step;
    if (AHEAD == 1u) {
        next = load(loader, place, backward);
        place = advance(place, walk);
    }
    for (var step = from_step; step < to_step; step++) {
        if (AHEAD == 0u) {
            next = load(loader, place, backward);
            place = advance(place, walk);
        }
        keep(next, lane, backward);
        workgroupBarrier(); // the step is in place
        if (AHEAD == 1u) {
            next = load(loader, place, backward); // beyond the last step it is loaded in vain
            place = advance(place, walk);
        }
        #each d DEPTH
        {
            #each g GROUPS
            let w{g}0 = wg_weight[{d}].rows[0].at[{g}][tx];
            let w{g}1 = wg_weight[{d}].rows[1].at[{g}][tx];
            let w{g}2 = wg_weight[{d}].rows[2].at[{g}][tx];
            let w{g}3 = wg_weight[{d}].rows[3].at[{g}][tx];
            #end
            #each p PIXELS
            let a{p} = wg_source[{d}].at[{p}][ty];
            #each g GROUPS
            s{g}{p} = times(a{p}, w{g}0, w{g}1, w{g}2, w{g}3, s{g}{p}, backward);
            #end
            #end
        }
        #end
        workgroupBarrier(); // the step has been read
    }
    #each p PIXELS
    let pixel{p} = result_pixel(first_pixel + ty + {p}u * LANES_Y, map, out_size);
    #end
    #each g GROUPS
    #each p PIXELS
    store(pixel{p}, first_column + tx + {g}u * LANES_X, split, s{g}{p});
    #end
    #end
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
