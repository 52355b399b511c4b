// irfft2: y[n,c,py,px] = sum over ky < H, kx < K of w[kx] s[ky,kx] Re(z[n,c,ky,kx] e^(2 pi i (ky py / H + kx px / W)))
// with w = 1 for kx = 0 and 2 kx = W, else 2, and z = real + i imaginary, the imaginary rows below the real ones.
// One axis after the other, each in stages of a mixed radix (Stockham): with m = before, r = radix, L = length / (m r) a stage makes
//   y[q m r + k] = sum over j < r of e^(direction 2 pi i j k / (m r)) x[(q + L j) m + k mod m],  q < L, k < m r
// Edges: the imaginary parts at kx = 0 and 2 kx = W do not count. Sums run in the order of j: results do not depend on the adapter.
// The gradient is the same backwards: rows first, direction -1, w and s at the end.
// One invocation = four channels of one complex number of y.

#import linear

override ACROSS: bool = false; // along the width, else along the height
override READS: u32 = 0u;      // x is 0: complex; 1: half of a complex row, which mirrors the other half; 2: real
override WRITES: u32 = 0u;     // y is the same; where 1 it is multiplied by w
override SCALES: u32 = 0u;     // s goes 0: nowhere; 1: on x; 2: on y

struct Params {
    vectors: u32,   // vec4s of y, imaginary parts not counted
    groups: u32,    // channel groups of the value
    height: u32,    // H
    x_width: u32,   // pixels in a row of x
    y_width: u32,   // pixels in a row of y
    length: u32,    // numbers that are transformed together: H or W
    radix: u32,     // of this stage
    before: u32,    // product of the radices of the stages before
    x_offset: u32,  // first group in a pixel of x
    x_stride: u32,  // groups of a pixel of x
    y_offset: u32,  // the same of y
    y_stride: u32,
    direction: f32, // 1 inverse, -1 forward
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [N, H, x_width, C/4] or [N, 2, H, x_width, C/4]
@group(0) @binding(2) var<storage, read> roots: array<vec2<f32>>;    // [length], cos and sin of 2 pi t / length
@group(0) @binding(3) var<storage, read> scales: array<f32>;         // [H, K], s
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;  // [N, H, y_width, C/4] or [N, 2, H, y_width, C/4]

struct Complex {
    re: vec4<f32>,
    im: vec4<f32>,
}

// The vec4 of x for channel group c of the pixel in this row of pixels, counted through the batch.
fn x_at(row: u32, column: u32, c: u32) -> vec4<f32> {
    return x[(row * params.x_width + column) * params.x_stride + params.x_offset + c];
}

fn complex_at(n: u32, row: u32, column: u32, c: u32) -> Complex {
    let first = n * 2u * params.height + row;
    return Complex(x_at(first, column, c), x_at(first + params.height, column, c));
}

fn load(n: u32, row: u32, column: u32, c: u32) -> Complex {
    if (READS == 2u) {
        return Complex(x_at(n * params.height + row, column, c), vec4<f32>(0.0));
    }
    if (READS == 1u) {
        let mirrored = column >= params.x_width;
        var z = complex_at(n, row, select(column, params.length - column, mirrored), c);
        let alone = column == 0u || 2u * column == params.length;
        z.im *= select(select(1.0, -1.0, mirrored), 0.0, alone);
        return z;
    }
    var z = complex_at(n, row, column, c);
    if (SCALES == 1u) {
        let s = scales[row * params.x_width + column];
        z = Complex(s * z.re, s * z.im);
    }
    return z;
}

@compute @workgroup_size(WG)
fn stage(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let column = pixel % params.y_width;
    let row = (pixel / params.y_width) % params.height;
    let n = pixel / (params.y_width * params.height);

    let index = select(row, column, ACROSS);
    let span = params.before * params.radix;
    let left = params.length / span;
    let k = index % span;
    let first = (index / span) * params.before + k % params.before;
    var sum = Complex(vec4<f32>(0.0), vec4<f32>(0.0));
    var turn = 0u; // j k mod span
    for (var j = 0u; j < params.radix; j++) {
        let at = first + left * params.before * j;
        var z: Complex;
        if (ACROSS) {
            z = load(n, row, at, c);
        } else {
            z = load(n, at, column, c);
        }
        let root = roots[turn * left];
        let sine = params.direction * root.y;
        sum.re += root.x * z.re - sine * z.im;
        sum.im += root.x * z.im + sine * z.re;
        turn += k;
        turn = select(turn, turn - span, turn >= span);
    }

    if (WRITES == 1u) {
        let alone = column == 0u || 2u * column == params.length;
        sum = Complex(select(2.0, 1.0, alone) * sum.re, select(2.0, 0.0, alone) * sum.im);
    }
    if (SCALES == 2u) {
        let s = scales[row * params.y_width + column];
        sum = Complex(s * sum.re, s * sum.im);
    }
    let parts = select(2u, 1u, WRITES == 2u);
    let to = (n * parts * params.height + row) * params.y_width + column;
    y[to * params.y_stride + params.y_offset + c] = sum.re;
    if (WRITES != 2u) {
        let below = to + params.height * params.y_width;
        y[below * params.y_stride + params.y_offset + c] = sum.im;
    }
}
