// fold: a convolution and the frozen batch norm behind it as one convolution with bias:
// folded[co,ci,ky,kx] = weight[co,ci,ky,kx] * scale[co], shift[co] = norm_bias[co] - (running_mean[co] - bias[co]) * scale[co],
// scale[co] = norm_weight[co] / sqrt(running_var[co] + eps).
// Edges: where running_var + eps is 0, as in padding lanes without eps, the scale is 0 and not infinite, as in batch_norm.
// One invocation = four output channels; of one row of the weight, which is one input channel of one tap, or of the shift.

#import linear

struct Params {
    rows: u32,      // KH*KW*Cin, Cin with its padding; 1 for the shift
    groups: u32,    // output channel groups of the convolution
    eps: f32,       // added to the variance
    offset: u32,    // first output channel group in the result
    stride: u32,    // output channel groups of the result
    has_bias: u32,  // 1 where the convolution has a bias
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // weight [KH, KW, Cin, Cout/4], or bias [Cout/4]
@group(0) @binding(2) var<storage, read> norm_weight: array<vec4<f32>>;     // [Cout/4]
@group(0) @binding(3) var<storage, read> norm_bias: array<vec4<f32>>;       // [Cout/4]
@group(0) @binding(4) var<storage, read> running_mean: array<vec4<f32>>;    // [Cout/4]
@group(0) @binding(5) var<storage, read> running_var: array<vec4<f32>>;     // [Cout/4]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;         // [KH, KW, Cin, stride], or [stride]

fn scale_of(co: u32) -> vec4<f32> {
    let v = running_var[co] + params.eps;
    return norm_weight[co] * select(1.0 / sqrt(v), vec4<f32>(0.0), v == vec4<f32>(0.0));
}

@compute @workgroup_size(WG)
fn weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let row = i / params.groups;
    let co = i - row * params.groups;
    if (row >= params.rows) { return; }
    y[row * params.stride + params.offset + co] = x[i] * scale_of(co);
}

@compute @workgroup_size(WG)
fn bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let co = linear_index(group, groups, lane);
    if (co >= params.groups) { return; }
    var mean = running_mean[co];
    if (params.has_bias != 0u) { mean = mean - x[co]; }
    y[params.offset + co] = norm_bias[co] - mean * scale_of(co);
}
