// binary: y = a + b, a - b, a * b or a / b, where an argument of size 1 along a side is the same all along it.
// grad_a = sum over the places of y that see the element of grad_y, grad_y, grad_y * b, grad_y / b;
// grad_b = the same sum of grad_y, -grad_y, grad_y * a, -grad_y * (a / b) / b.
// Edges: lanes that fill up the last channel group are zero, whatever the arguments have there. Sums run over channels, pictures,
// rows, columns in runs of 2048 places, in one fixed order. Division by 0 is as the hardware has it.
// Letters: "own" is the argument whose gradient is written, "other" the other one; "group" is four channels.
// One invocation = four channels of one pixel of y in forward, of the own argument in grad; one workgroup = the latter in grad_sum.

#import linear
#import reduce

override OPERATOR: u32 = 0u; // 0 plus, 1 minus, 2 times, 3 over
override SECOND: bool = false; // whether the own argument is b

struct Params {
    n: u32,          // pictures of y
    h: u32,          // height of y
    w: u32,
    c: u32,          // channels of y
    a_n: u32,        // the same of a: each that of y, or 1
    a_h: u32,
    a_w: u32,
    a_c: u32,
    b_n: u32,
    b_h: u32,
    b_w: u32,
    b_c: u32,
    a_offset: u32,   // first group in a pixel of a
    a_stride: u32,   // groups of a pixel of a
    b_offset: u32,
    b_stride: u32,
    g_offset: u32,   // the same of grad_y
    g_stride: u32,
    out_offset: u32, // the same of y, or of the gradient
    out_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;            // [N, H, W, C/4], each size that of y or 1
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;            // [N, H, W, C/4], each size that of y or 1
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N, H, W, C/4]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y, grad_a or grad_b

// A place of y: four channels of a pixel.
struct Place {
    n: u32,
    y: u32,
    x: u32,
    c: u32, // channel group
}

fn place_of(i: u32, h: u32, w: u32, channel_groups: u32) -> Place {
    let pixel = divide(i, channel_groups);
    let row = divide(pixel, w);
    let picture = divide(row, h);
    return Place(picture, row - picture * h, pixel - row * w, i - pixel * channel_groups);
}

fn groups_of(channels: u32) -> u32 {
    return (channels + 3u) / 4u;
}

fn load_a(p: Place) -> vec4<f32> {
    let at = min(vec4<u32>(p.n, p.y, p.x, p.c), vec4<u32>(params.a_n, params.a_h, params.a_w, groups_of(params.a_c)) - 1u);
    let v = a[((at.x * params.a_h + at.y) * params.a_w + at.z) * params.a_stride + params.a_offset + at.w];
    return select(v, vec4<f32>(v.x), params.a_c == 1u);
}

fn load_b(p: Place) -> vec4<f32> {
    let at = min(vec4<u32>(p.n, p.y, p.x, p.c), vec4<u32>(params.b_n, params.b_h, params.b_w, groups_of(params.b_c)) - 1u);
    let v = b[((at.x * params.b_h + at.y) * params.b_w + at.z) * params.b_stride + params.b_offset + at.w];
    return select(v, vec4<f32>(v.x), params.b_c == 1u);
}

// The lanes of a group that are channels; zero in the others.
fn real(c: u32, v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.c));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = place_of(i, params.h, params.w, groups_of(params.c));
    if (p.n >= params.n) { return; }
    let u = load_a(p);
    let v = load_b(p);
    var y = u + v;
    if (OPERATOR == 1u) { y = u - v; }
    if (OPERATOR == 2u) { y = u * v; }
    if (OPERATOR == 3u) { y = u / v; }
    out[((p.n * params.h + p.y) * params.w + p.x) * params.out_stride + params.out_offset + p.c] = real(p.c, y);
}

// What a place of y adds to the gradient of the own argument.
fn share(p: Place) -> vec4<f32> {
    let g = grad_y[((p.n * params.h + p.y) * params.w + p.x) * params.g_stride + params.g_offset + p.c];
    var s = g;
    if (OPERATOR == 1u && SECOND) { s = -g; }
    if (OPERATOR == 2u) {
        if (SECOND) { s = g * load_a(p); } else { s = g * load_b(p); }
    }
    if (OPERATOR == 3u) {
        let v = load_b(p);
        if (SECOND) { s = -g * (load_a(p) / v) / v; } else { s = g / v; }
    }
    return real(p.c, s);
}

// Sizes of the own argument: pictures, height, width, channels.
fn own() -> vec4<u32> {
    if (SECOND) { return vec4<u32>(params.b_n, params.b_h, params.b_w, params.b_c); }
    return vec4<u32>(params.a_n, params.a_h, params.a_w, params.a_c);
}

// An own argument of y's sizes.
@compute @workgroup_size(WG)
fn grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = place_of(i, params.h, params.w, groups_of(params.c));
    if (p.n >= params.n) { return; }
    out[((p.n * params.h + p.y) * params.w + p.x) * params.out_stride + params.out_offset + p.c] = share(p);
}

const RUN: u32 = 2048u; // places summed up before the sum joins the others: rounding must not grow with the picture

// An own argument that is the same along some sides of y.
@compute @workgroup_size(64)
fn grad_sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let size = own();
    let i = group.x + group.y * groups.x;
    let p = place_of(i, size.y, size.z, groups_of(size.w));
    if (p.n >= size.x) { return; } // the whole workgroup
    let whole = vec4<u32>(params.n, params.h, params.w, params.c);
    // Sides of y along which the argument is the same, 1 for the others.
    let along = select(vec4<u32>(1u), whole, size < whole);
    let channel_groups = groups_of(along.w);
    let count = along.x * along.y * along.z * channel_groups;
    var sum = vec4<f32>(0.0);
    for (var start = lane; start < count; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var k = start; k < min(start + RUN, count); k += 64u) {
            let q = place_of(k, along.y, along.z, channel_groups);
            part += share(Place(p.n + q.n, p.y + q.y, p.x + q.x, p.c + q.c));
        }
        sum += part;
    }
    var total = workgroup_sum(lane, sum);
    if (size.w < params.c) { total = vec4<f32>((total.x + total.y) + (total.z + total.w), 0.0, 0.0, 0.0); }
    if (lane == 0u) {
        out[((p.n * size.y + p.y) * size.z + p.x) * params.out_stride + params.out_offset + p.c] = total;
    }
}
