// fold: a convolution without bias and the frozen batch norm behind it as one convolution with bias:
// folded[co,ci,ky,kx] = weight[co,ci,ky,kx] * scale[co], shift[co] = norm_bias[co] - running_mean[co] * scale[co],
// scale[co] = norm_weight[co] / sqrt(running_var[co] + eps).
// Edges: where running_var + eps is 0, as in padding lanes without eps, the scale is 0 and not infinite, as in batch_norm.
// One invocation = four output channels of one row of weight, which is one input channel of one tap; row 0 also does shift.

#import linear

struct Params {
    rows: u32,      // KH*KW*Cin, Cin with its padding
    groups: u32,    // output channel groups of weight
    eps: f32,       // added to the variance
    offset: u32,    // first output channel group in folded and in shift
    stride: u32,    // output channel groups of folded
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;          // [KH, KW, Cin, Cout/4]
@group(0) @binding(2) var<storage, read> norm_weight: array<vec4<f32>>;     // [Cout/4]
@group(0) @binding(3) var<storage, read> norm_bias: array<vec4<f32>>;       // [Cout/4]
@group(0) @binding(4) var<storage, read> running_mean: array<vec4<f32>>;    // [Cout/4]
@group(0) @binding(5) var<storage, read> running_var: array<vec4<f32>>;     // [Cout/4]
@group(0) @binding(6) var<storage, read_write> folded: array<vec4<f32>>;    // [KH, KW, Cin, stride]
@group(0) @binding(7) var<storage, read_write> shift: array<vec4<f32>>;     // [stride]

@compute @workgroup_size(WG)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let row = i / params.groups;
    let co = i - row * params.groups;
    if (row >= params.rows) { return; }
    let v = running_var[co] + params.eps;
    let scale = norm_weight[co] * select(1.0 / sqrt(v), vec4<f32>(0.0), v == vec4<f32>(0.0));
    folded[row * params.stride + params.offset + co] = weight[i] * scale;
    if (row == 0u) { shift[params.offset + co] = norm_bias[co] - running_mean[co] * scale; }
}
