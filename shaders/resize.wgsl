// resize, along one axis: y[o] = sum over t from starts[o] to starts[o+1] of weights[t] * x[indices[t]]
// The table is made on the host, where coordinates are exact; its transpose gives grad_x from grad_y. Sums run in its order.
// Neighbours along the axis lie `step` pixels apart: 1 in a row, W in a column.
// One invocation = four channels of one pixel of y.

#import linear

struct Params {
    vectors: u32,   // vec4s of y
    groups: u32,    // channel groups of the value
    x_length: u32,  // pixels of x along the axis
    y_length: u32,  // pixels of y along the axis
    step: u32,      // pixels between neighbours along the axis, in x and in y
    x_offset: u32,  // first group in a pixel of x
    x_stride: u32,  // groups of a pixel of x
    y_offset: u32,  // the same of y
    y_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> starts: array<u32>;           // [y_length + 1]
@group(0) @binding(3) var<storage, read> indices: array<u32>;          // [starts[y_length]], below x_length
@group(0) @binding(4) var<storage, read> weights: array<f32>;          // [starts[y_length]]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;    // [N, H, W, C/4] with y_length along the axis

@compute @workgroup_size(WG)
fn resample(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let position = (pixel / params.step) % params.y_length;
    let line = pixel / (params.step * params.y_length);
    let first = line * params.x_length * params.step + pixel % params.step;
    var sum = vec4<f32>(0.0);
    for (var t = starts[position]; t < starts[position + 1u]; t++) {
        sum += weights[t] * x[(first + indices[t] * params.step) * params.x_stride + params.x_offset + c];
    }
    y[pixel * params.y_stride + params.y_offset + c] = sum;
}
