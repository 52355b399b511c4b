// warp: y[n,c,oy,ox] = x[n,c] sampled between its pixels at column ix and row iy, where with (u, v) = (ox - cx, oy - cy) about
// the centre (cx, cy) = ((W-1)/2, (H-1)/2) and (a, b, c, d, e, f) = matrix[n], counted in pixels,
//   ix = a u + b v + c + cx,  iy = d u + e v + f + cy,  both then clamped to the picture: beyond its edge lies its edge pixel.
// A sample is bilinear: the sum over pixels j of x[j] * hat(ix - jx) * hat(iy - jy), hat(d) = max(0, 1 - |d|).
// grad_x[j] = sum over o of grad_y[o] * the same weights: a gather over the box of output pixels that may look at j, without
// atomics. Pixels of the edge are looked at from everywhere beyond it, so their boxes reach as far as any output pixel looks.
// Edges: the identity, mirrors and whole shifts are exact: centres are halves. A matrix near singular walks over all of y.
// One invocation = four channels of one pixel.

#import linear

struct Params {
    vectors: u32,        // vec4s of the value
    groups: u32,         // channel groups of the value
    h: u32,              // height of x and of y
    w: u32,
    matrix_offset: u32,  // first group in a picture of matrix
    matrix_stride: u32,  // groups of a picture of matrix
    x_offset: u32,       // first group in a pixel of x, or of grad_y
    x_stride: u32,       // groups of a pixel of x, or of grad_y
    y_offset: u32,       // the same of y, or of grad_x
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4]; grad_y in grad_input
@group(0) @binding(2) var<storage, read> matrix: array<vec4<f32>>;     // [N, 2]: a b c d, e f 0 0
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;    // [N, H, W, C/4]; grad_x in grad_input

const SINGULAR: f32 = 1e-3; // determinants below it: an inverse would be mostly rounding
const ROUNDING: f32 = 0.01; // pixels by which a box is widened for the rounding of its inverse

struct Map {
    column: vec2<f32>,  // a, b
    row: vec2<f32>,     // d, e
    shift: vec2<f32>,   // c, f
}

fn map_of(n: u32) -> Map {
    let at = n * params.matrix_stride + params.matrix_offset;
    return Map(matrix[at].xy, vec2<f32>(matrix[at].w, matrix[at + 1u].x), vec2<f32>(matrix[at].z, matrix[at + 1u].y));
}

fn last_pixel() -> vec2<f32> {
    return vec2<f32>(vec2<u32>(params.w, params.h) - 1u);
}

// Where the output pixel at column o.x and row o.y looks.
fn source(m: Map, o: vec2<f32>) -> vec2<f32> {
    let centre = 0.5 * last_pixel();
    let from_centre = o - centre;
    let at = vec2<f32>(dot(m.column, from_centre), dot(m.row, from_centre)) + m.shift + centre;
    return clamp(at, vec2<f32>(0.0), last_pixel());
}

fn hat(d: vec2<f32>) -> f32 {
    let weight = max(vec2<f32>(0.0), 1.0 - abs(d));
    return weight.x * weight.y;
}

// Four channels of the pixel at column p.x and row p.y.
fn load(n: u32, p: vec2<f32>, c: u32) -> vec4<f32> {
    let pixel = (n * params.h + u32(p.y)) * params.w + u32(p.x);
    return x[pixel * params.x_stride + params.x_offset + c];
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.h * params.w);
    let o = vec2<f32>(f32(pixel % params.w), f32((pixel / params.w) % params.h));
    let at = source(map_of(n), o);
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        let j = floor(at) + vec2<f32>(f32(k % 2u), f32(k / 2u));
        let weight = hat(at - j);
        // A pixel beyond the last one weighs nothing: `at` is clamped.
        if (weight > 0.0) { sum += weight * load(n, j, c); }
    }
    y[pixel * params.y_stride + params.y_offset + c] = sum;
}

// First and last output pixel, columns before rows, that may look at pixel j; none where the first lies behind the last.
fn lookers(m: Map, j: vec2<f32>) -> vec4<f32> {
    let last = last_pixel();
    let centre = 0.5 * last;
    let det = m.column.x * m.row.y - m.column.y * m.row.x;
    if (abs(det) < SINGULAR) { return vec4<f32>(vec2<f32>(0.0), last); }
    // What is looked at, before it is clamped, relative to the centre: one pixel around j, more at the edge.
    let farthest = vec2<f32>(dot(abs(m.column), centre), dot(abs(m.row), centre));
    var low = j - 1.0 - centre;
    var high = j + 1.0 - centre;
    low = select(low, min(low, m.shift - farthest), j == vec2<f32>(0.0));
    high = select(high, max(high, m.shift + farthest), j == last);
    // Through the inverse of the matrix: the box around a box is that of its centre and half its size.
    let middle = 0.5 * (low + high) - m.shift;
    let half_size = 0.5 * (high - low);
    let inverse_column = vec2<f32>(m.row.y, -m.column.y) / det;
    let inverse_row = vec2<f32>(-m.row.x, m.column.x) / det;
    let at = vec2<f32>(dot(inverse_column, middle), dot(inverse_row, middle)) + centre;
    let reach = vec2<f32>(dot(abs(inverse_column), half_size), dot(abs(inverse_row), half_size)) + ROUNDING;
    return vec4<f32>(max(ceil(at - reach), vec2<f32>(0.0)), min(floor(at + reach), last));
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / (params.h * params.w);
    let j = vec2<f32>(f32(pixel % params.w), f32((pixel / params.w) % params.h));
    let m = map_of(n);
    let box = lookers(m, j);
    var sum = vec4<f32>(0.0);
    for (var oy = box.y; oy <= box.w; oy += 1.0) {
        for (var ox = box.x; ox <= box.z; ox += 1.0) {
            let o = vec2<f32>(ox, oy);
            let weight = hat(source(m, o) - j);
            if (weight > 0.0) { sum += weight * load(n, o, c); }
        }
    }
    y[pixel * params.y_stride + params.y_offset + c] = sum;
}
