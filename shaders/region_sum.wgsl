// region_sum: y[n] = sum of x[n,c,iy,ix] over the channels, rows and columns of a box; grad_x = grad_y[n] inside, 0 outside.
// One workgroup = one picture in forward; one invocation = four channels of one pixel in grad_input.

#import linear
#import reduce

struct Params {
    vectors: u32,        // vec4s of x
    groups: u32,         // channel groups of x
    n: u32,              // pictures
    h: u32,              // height of x
    w: u32,
    first_channel: u32,  // the box, each end exclusive
    end_channel: u32,
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
    x_offset: u32,       // first group in a pixel of x, or of grad_x
    x_stride: u32,       // groups of a pixel of x, or of grad_x
    y_offset: u32,       // first group in a picture of y, or of grad_y
    y_stride: u32,       // groups of a picture of y, or of grad_y
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad_y: array<vec4<f32>>;       // [N]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // y [N] or grad_x [N, H, W, C/4]

// The value in the lanes of group c that belong to the box, 0 in the others.
fn boxed(c: u32, value: vec4<f32>) -> vec4<f32> {
    let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = (channel >= vec4<u32>(params.first_channel)) & (channel < vec4<u32>(params.end_channel));
    return select(vec4<f32>(0.0), value, inside);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let rows = params.end_row - params.first_row;
    let columns = params.end_column - params.first_column;
    let first_group = params.first_channel / 4u;
    let depth = (params.end_channel + 3u) / 4u - first_group;
    var sum = vec4<f32>(0.0);
    for (var k = lane; k < rows * columns * depth; k += 64u) {
        let c = first_group + k % depth;
        let ix = params.first_column + (k / depth) % columns;
        let iy = params.first_row + k / (depth * columns);
        sum += boxed(c, x[((n * params.h + iy) * params.w + ix) * params.x_stride + params.x_offset + c]);
    }
    let total = workgroup_sum(lane, sum);
    if (lane == 0u) {
        out[n * params.y_stride + params.y_offset] = vec4<f32>(dot(total, vec4<f32>(1.0)), 0.0, 0.0, 0.0);
    }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let ix = pixel % params.w;
    let iy = (pixel / params.w) % params.h;
    let n = pixel / (params.h * params.w);
    var g = vec4<f32>(0.0);
    if (iy >= params.first_row && iy < params.end_row && ix >= params.first_column && ix < params.end_column) {
        g = boxed(c, vec4<f32>(grad_y[n * params.y_stride + params.y_offset].x));
    }
    out[pixel * params.x_stride + params.x_offset + c] = g;
}
