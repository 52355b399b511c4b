// pick: y[n] = sum over iy,ix of x[n,index[n],iy,ix]; grad_x[n,c,iy,ix] = grad_y[n] where c = index[n], else 0.
// Edges: an index beyond the last channel means the last one.
// One workgroup = one picture in forward; one invocation = four channels of one pixel in grad_input.

#import linear
#import reduce

struct Params {
    vectors: u32,       // vec4s of x
    groups: u32,        // channel groups of x
    n: u32,             // pictures
    c: u32,             // channels
    area: u32,          // pixels of a picture
    index_offset: u32,  // first group in a picture of index
    index_stride: u32,  // groups of a picture of index
    x_offset: u32,      // first group in a pixel of x, or of grad_x
    x_stride: u32,      // groups of a pixel of x, or of grad_x
    y_offset: u32,      // first group in a picture of y, or of grad_y
    y_stride: u32,      // groups of a picture of y, or of grad_y
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> index: array<vec4<f32>>;        // [N]: a whole number, 0, 0, 0
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y [N] or grad_x [N, H, W, C/4]

fn picked(n: u32) -> u32 {
    return min(u32(index[n * params.index_stride + params.index_offset].x), params.c - 1u);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let channel = picked(n);
    var sum = 0.0;
    for (var p = lane; p < params.area; p += 64u) {
        sum += x[(n * params.area + p) * params.x_stride + params.x_offset + channel / 4u][channel % 4u];
    }
    let total = workgroup_sum(lane, vec4<f32>(sum, 0.0, 0.0, 0.0));
    if (lane == 0u) { out[n * params.y_stride + params.y_offset] = total; }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / params.area;
    let g = vec4<f32>(grad_y[n * params.y_stride + params.y_offset].x);
    let hit = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(picked(n));
    out[pixel * params.x_stride + params.x_offset + c] = select(vec4<f32>(0.0), g, hit);
}
