// brighten: picture[n] *= factor[n].
// One invocation = four channels of one pixel.

#import linear

struct Params {
    vectors: u32,         // vec4s of the picture
    groups: u32,          // channel groups of the picture
    area: u32,            // pixels of a picture
    picture_offset: u32,  // first group in a pixel of picture
    picture_stride: u32,  // groups of a pixel of picture
    factor_offset: u32,   // first group in a picture of factor
    factor_stride: u32,   // groups of a picture of factor
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> factor: array<vec4<f32>>;           // [N]
@group(0) @binding(2) var<storage, read_write> picture: array<vec4<f32>>;    // [N, H, W, C/4]

@compute @workgroup_size(WG)
fn brighten(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let at = pixel * params.picture_stride + params.picture_offset + i % params.groups;
    picture[at] *= factor[(pixel / params.area) * params.factor_stride + params.factor_offset].x;
}
