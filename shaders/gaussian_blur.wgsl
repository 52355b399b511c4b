// gaussian_blur, along one axis: y[i] = sum over k of taps[k] * x[reflect(i + k - K/2)]; both axes in turn give the blur.
// Edges: reflect without repeating the edge pixel, index -1 is pixel 1. The axis is longer than K/2, so it reflects once.
// Letters: L length of the axis, K taps. Neighbours along the axis lie `step` pixels apart: 1 in a row, W in a column.
// One invocation = four channels of one pixel.

#import linear

struct Params {
    vectors: u32,      // vec4s of the value
    groups: u32,       // channel groups of the value
    length: u32,       // L
    step: u32,         // pixels between neighbours along the axis
    kernel: u32,       // K, odd
    taps_offset: u32,  // first group of taps
    x_offset: u32,     // first group in a pixel of x, or of grad_y
    x_stride: u32,     // groups of a pixel of x, or of grad_y
    y_offset: u32,     // the same of y, or of grad_x
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4]; grad_y in grad_input
@group(0) @binding(2) var<storage, read> taps: array<vec4<f32>>;       // [K/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;    // [N, H, W, C/4]; grad_x in grad_input

fn reflect_index(p: i32) -> u32 {
    let last = i32(params.length) - 1;
    return u32(last - abs(last - abs(p)));
}

fn tap(k: u32) -> f32 {
    return taps[params.taps_offset + k / 4u][k % 4u];
}

fn load(pixel: u32, c: u32) -> vec4<f32> {
    return x[pixel * params.x_stride + params.x_offset + c];
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let position = (pixel / params.step) % params.length;
    let first = pixel - position * params.step;
    let corner = i32(position) - i32(params.kernel / 2u);
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < params.kernel; k++) {
        sum += tap(k) * load(first + reflect_index(corner + i32(k)) * params.step, c);
    }
    y[pixel * params.y_stride + params.y_offset + c] = sum;
}

// What the taps took at position p, which may lie outside: sum over k of taps[k] * grad_y[p - k + K/2].
fn gather(first: u32, c: u32, p: i32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < params.kernel; k++) {
        let i = p - i32(k) + i32(params.kernel / 2u);
        if (i >= 0 && i < i32(params.length)) {
            sum += tap(k) * load(first + u32(i) * params.step, c);
        }
    }
    return sum;
}

// grad_x[j] = sum of what was taken at j and at the positions outside that reflect to it, -j and 2(L-1) - j.
@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let position = (pixel / params.step) % params.length;
    let first = pixel - position * params.step;
    let j = i32(position);
    let last = i32(params.length) - 1;
    var sum = gather(first, c, j);
    if (j != 0) { sum += gather(first, c, -j); }
    if (j != last) { sum += gather(first, c, 2 * last - j); }
    y[pixel * params.y_stride + params.y_offset + c] = sum;
}
