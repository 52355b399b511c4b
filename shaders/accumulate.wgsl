// accumulate: sum += x. The one kernel that adds to what is there; the tape uses it where a value has several consumers.
// One invocation = one vec4.

#import linear

struct Params {
    vectors: u32,    // vec4s of the value
    groups: u32,     // channel groups of the value; 1 where both fill their buffers
    x_offset: u32,   // first group in a pixel of x
    x_stride: u32,   // groups of a pixel of x
    sum_offset: u32, // the same of sum
    sum_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read_write> sum: array<vec4<f32>>;    // [N, H, W, C/4]

@compute @workgroup_size(WG)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    sum[pixel * params.sum_stride + params.sum_offset + c] += x[pixel * params.x_stride + params.x_offset + c];
}
