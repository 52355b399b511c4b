// conv2d_registers: parameters, bindings, loads and stores of the convolutions that hold their sums in registers alone.
// The importer imports not_finite and activation.

struct Params {
    n: u32,         // pictures
    h: u32,         // input height
    w: u32,
    c_in: u32,      // input channel groups
    oh: u32,        // output height
    ow: u32,
    c_out: u32,     // output channel groups
    kh: u32,        // kernel height
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,     // zeros above and to the left
    pad_w: u32,
    dilation_h: u32, // from a tap to the next, in x
    dilation_w: u32,
    step_h: u32,    // from a tap that sees a pixel of a phase to the next that does
    step_w: u32,
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    // What is done to a sum before it is stored: numbers and not constants, for each variant would be compiled by the driver.
    has_bias: u32,      // 0 or 1: starts from bias
    has_addend: u32,    // 0 or 1: adds addend
    a_offset: u32,      // first group in a pixel of addend
    a_stride: u32,      // groups of a pixel of addend
    relu: u32,          // 0 or 1: y = max(y, 0)
    mask: u32,          // 0 or 1: grad_x = 0 where x <= 0
    m_offset: u32,      // first group in a pixel of x, where it is the mask
    m_stride: u32,
    // Of a convolution whose channels are in several bundles, each of which sees its own input channels alone.
    bundles: u32,
    bundle_in: u32,     // input channels of a bundle
    bundle_out: u32,    // output channels of a bundle
    splits: u32,        // of each sum over pixels
    act_a: f32,         // numbers of the activation
    act_b: f32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, Cin/4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;       // [KH, KW, Cin, Cout/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;         // [Cout/4]
@group(0) @binding(4) var<storage, read> addend: array<vec4<f32>>;       // residual of y's shape, or an earlier gradient of x's
@group(0) @binding(5) var<storage, read> grad_y: array<vec4<f32>>;       // [N, OH, OW, Cout/4]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;    // y, grad_x, grad_weight or grad_bias

const NOWHERE: i32 = -1;

// The pixel after q in a map of so many rows and columns: cheaper than to divide again.
fn next_pixel(q: vec3<u32>, rows: u32, columns: u32) -> vec3<u32> {
    let right = vec3<u32>(q.x, q.y, q.z + 1u);
    let below = vec3<u32>(q.x, q.y + 1u, 0u);
    let first = vec3<u32>(q.x + 1u, 0u, 0u);
    return select(right, select(below, first, q.y + 1u == rows), q.z + 1u == columns);
}

// Where x holds the pixel that a tap sees from output position `at` = (first row of the picture, row, column), or NOWHERE.
fn seen_by_tap(at: vec3<i32>, ky: u32, kx: u32) -> i32 {
    let iy = at.y + i32(ky * params.dilation_h);
    let ix = at.z + i32(kx * params.dilation_w);
    let inside = u32(iy) < params.h && u32(ix) < params.w;
    return select(NOWHERE, ((at.x + iy) * i32(params.w) + ix) * i32(params.x_stride) + i32(params.x_offset), inside);
}

// Pixel p of maps of so many rows and columns: (picture, row, column).
fn pixel_of(p: u32, rows: u32, columns: u32) -> vec3<u32> {
    let row = divide(p, columns);
    let picture = divide(row, rows);
    return vec3<u32>(picture, row - picture * rows, p - row * columns);
}

// Output pixel q as seen_by_tap wants it: the corner of its window, outside of everything beyond the last picture.
fn window_corner(q: vec3<u32>) -> vec3<i32> {
    let corner = vec3<i32>(i32(q.x * params.h), i32(q.y * params.stride_h) - i32(params.pad_h),
                           i32(q.z * params.stride_w) - i32(params.pad_w));
    return select(vec3<i32>(0, -65536, -65536), corner, q.x < params.n);
}

fn load_x(at: i32, c: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), x[u32(max(at, 0)) + c], at >= 0);
}

fn load_g(at: i32, c: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), grad_y[u32(max(at, 0)) + c], at >= 0);
}

// Four input channels times a 4x4 block of weights, a row for each input channel.
fn times(a: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return sum + a.x * w0 + a.y * w1 + a.z * w2 + a.w * w3;
}

// The same block transposed: four output channels back to four input channels.
fn times_transposed(a: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return sum + vec4<f32>(dot(a, w0), dot(a, w1), dot(a, w2), dot(a, w3));
}

// Stores four channels of output pixel p.
fn store_y(p: u32, co: u32, sum: vec4<f32>) {
    if (p >= params.n * params.oh * params.ow || co >= params.c_out) { return; }
    var value = sum;
    if (params.has_addend == 1u) { value += addend[p * params.a_stride + params.a_offset + co]; }
    if (params.relu == 1u) { value = where_positive(value, value); }
    if (ACTIVATION != 0u) { value = activated_channels(co, params.bundles * params.bundle_out, value, params.act_a, params.act_b); }
    out[p * params.y_stride + params.y_offset + co] = value;
}

// Where grad_y holds the output pixel that saw input pixel q through a tap, or NOWHERE.
fn seen_through_tap(q: vec3<u32>, dy: i32, dx: i32) -> i32 {
    let oy = i32(q.y) + dy;
    let ox = i32(q.z) + dx;
    let inside = q.x < params.n && u32(oy) < params.oh && u32(ox) < params.ow;
    let pixel = (i32(q.x * params.oh) + oy) * i32(params.ow) + ox;
    return select(NOWHERE, pixel * i32(params.y_stride) + i32(params.y_offset), inside);
}

// Stores four channels of pixel q of a phase.
fn store_x(q: vec3<u32>, phase: vec2<u32>, ci: u32, sum: vec4<f32>) {
    if (q.x >= params.n || ci >= params.c_in) { return; }
    let iy = q.y * params.stride_h + phase.x;
    let ix = q.z * params.stride_w + phase.y;
    let pixel = (q.x * params.h + iy) * params.w + ix;
    var value = sum;
    if (params.has_addend == 1u) { value += addend[pixel * params.a_stride + params.a_offset + ci]; }
    if (params.mask == 1u) { value = where_positive(value, x[pixel * params.m_stride + params.m_offset + ci]); }
    out[pixel * params.x_stride + params.x_offset + ci] = value;
}
