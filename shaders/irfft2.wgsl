// irfft2: y[n,c,py,px] = sum over ky < H, kx < K of w[kx] s[ky,kx] Re(z[n,c,ky,kx] e^(2 pi i (ky py / H + kx px / W)))
// with w = 1 for kx = 0 and 2 kx = W, else 2, and z = real + i imaginary, the imaginary rows below the real ones.
// One axis after the other, each in stages of a mixed radix (Stockham): with m = before, r = radix, L = length / (m r) a stage makes
//   y[q m r + k] = sum over j < r of e^(direction 2 pi i j k / (m r)) x[(q + L j) m + k mod m],  q < L, k < m r
// Edges: the imaginary parts at kx = 0 and 2 kx = W do not count. Sums run in the order of j: results do not depend on the adapter.
// The gradient is the same backwards: rows first, direction -1, w and s at the end.
// One invocation = four channels of four complex numbers of y, or twice as many, those of one q and k mod m.

#import linear

override ACROSS: bool = false; // along the width, else along the height
override READS: u32 = 0u;      // x is 0: complex; 1: half of a complex row, which mirrors the other half; 2: real
override WRITES: u32 = 0u;     // y is the same; where 1 it is multiplied by w
override HALVES: bool = false; // the radix is even: k and k + m r / 2 differ in the sign of their odd terms alone
override SCALES: u32 = 0u;     // s goes 0: nowhere; 1: on x; 2: on y

struct Params {
    invocations: u32,
    tasks: u32,     // invocations for the numbers that are transformed together
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

// The number of x at `index` of its axis; `place` is where it lies on the other one.
fn load_at(n: u32, place: u32, index: u32, c: u32) -> Complex {
    if (ACROSS) { return load(n, place, index, c); }
    return load(n, index, place, c);
}

// sum + z e^(direction 2 pi i t / length), the root of one for t given.
fn plus(sum: Complex, root: vec2<f32>, z: Complex) -> Complex {
    let sine = params.direction * root.y;
    return Complex(sum.re + (root.x * z.re - sine * z.im), sum.im + (root.x * z.im + sine * z.re));
}

fn store(n: u32, row: u32, column: u32, c: u32, sum: Complex) {
    var z = sum;
    if (WRITES == 1u) {
        if (column >= params.y_width) { return; }
        let alone = column == 0u || 2u * column == params.length;
        z = Complex(select(2.0, 1.0, alone) * z.re, select(2.0, 0.0, alone) * z.im);
    }
    if (SCALES == 2u) {
        let s = scales[row * params.y_width + column];
        z = Complex(s * z.re, s * z.im);
    }
    let parts = select(2u, 1u, WRITES == 2u);
    let to = (n * parts * params.height + row) * params.y_width + column;
    y[to * params.y_stride + params.y_offset + c] = z.re;
    if (WRITES != 2u) {
        let below = to + params.height * params.y_width;
        y[below * params.y_stride + params.y_offset + c] = z.im;
    }
}

// Stores a sum as the number at `index` of its axis; `place` is where it lies on the other one.
fn store_at(n: u32, place: u32, index: u32, c: u32, sum: Complex) {
    if (ACROSS) {
        store(n, place, index, c, sum);
    } else {
        store(n, index, place, c, sum);
    }
}

// Stores what the even and the odd terms make, unless k lies beyond those that this stage has.
fn finish(n: u32, place: u32, first: u32, k: u32, end: u32, c: u32, even: Complex, odd: Complex) {
    if (k >= end) { return; }
    if (HALVES) {
        store_at(n, place, first + k, c, Complex(even.re + odd.re, even.im + odd.im));
        store_at(n, place, first + k + end, c, Complex(even.re - odd.re, even.im - odd.im));
    } else {
        store_at(n, place, first + k, c, even);
    }
}

// (turn + k) mod span, both below span.
fn turned(turn: vec4<u32>, k: vec4<u32>, span: u32) -> vec4<u32> {
    let next = turn + k;
    return select(next, next - span, next >= vec4<u32>(span));
}

@compute @workgroup_size(WG)
fn stage(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.invocations) { return; }
    let pixel = divide(i, params.groups);
    let c = i - pixel * params.groups;
    // Neighbouring invocations lie side by side in memory: along the axis in a row, beside it in a column.
    var n: u32;
    var place: u32;
    var task: u32;
    if (ACROSS) {
        let line = divide(pixel, params.tasks);
        task = pixel - line * params.tasks;
        n = divide(line, params.height);
        place = line - n * params.height;
    } else {
        let rest = divide(pixel, params.y_width);
        place = pixel - rest * params.y_width;
        n = divide(rest, params.tasks);
        task = rest - n * params.tasks;
    }
    let span = params.before * params.radix;
    let bases = select(params.radix, params.radix >> 1u, HALVES);
    let fours = (bases + 3u) >> 2u;
    let block = divide(task, params.before);
    let within = task - block * params.before; // k mod m
    let q = divide(block, fours);
    let stride = divide(params.length, params.radix); // L m
    let left = divide(stride, params.before);         // L

    // Four outputs have the same numbers under their sums.
    let four = vec4<u32>(within) + (4u * (block - q * fours) + vec4<u32>(0u, 1u, 2u, 3u)) * params.before;
    let end = bases * params.before;
    let k = select(four, vec4<u32>(0u), four >= vec4<u32>(end));
    let zero = Complex(vec4<f32>(0.0), vec4<f32>(0.0));
    var even_0 = zero;
    var even_1 = zero;
    var even_2 = zero;
    var even_3 = zero;
    var odd_0 = zero;
    var odd_1 = zero;
    var odd_2 = zero;
    var odd_3 = zero;
    var at = q * params.before + within;
    var turn = vec4<u32>(0u); // j k mod (m r)
    for (var j = 0u; j < params.radix; j += select(1u, 2u, HALVES)) {
        let z = load_at(n, place, at, c);
        even_0 = plus(even_0, roots[turn.x * left], z);
        even_1 = plus(even_1, roots[turn.y * left], z);
        even_2 = plus(even_2, roots[turn.z * left], z);
        even_3 = plus(even_3, roots[turn.w * left], z);
        turn = turned(turn, k, span);
        at += stride;
        if (HALVES) {
            let z = load_at(n, place, at, c);
            odd_0 = plus(odd_0, roots[turn.x * left], z);
            odd_1 = plus(odd_1, roots[turn.y * left], z);
            odd_2 = plus(odd_2, roots[turn.z * left], z);
            odd_3 = plus(odd_3, roots[turn.w * left], z);
            turn = turned(turn, k, span);
            at += stride;
        }
    }
    let first = q * span;
    finish(n, place, first, four.x, end, c, even_0, odd_0);
    finish(n, place, first, four.y, end, c, even_1, odd_1);
    finish(n, place, first, four.z, end, c, even_2, odd_2);
    finish(n, place, first, four.w, end, c, even_3, odd_3);
}
