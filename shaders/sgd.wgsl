// sgd: d = grad + weight_decay * parameter, then
//   plain         parameter -= rate * d
//   with_momentum velocity = momentum * velocity + d, parameter -= rate * (nesterov ? d + momentum * velocity : velocity)
// as torch.optim.SGD, whose velocity starts as the first d: the same as starting from 0, there being no dampening.
// Edges: lanes that fill up have parameter and gradient 0, so they stay 0. Any layout will do: a parameter is a run of vec4s.
// One invocation = one vec4.

#import linear

override nesterov: bool = false;

struct Params {
    vectors: u32,       // vec4s of the parameter
    groups: u32,        // channel groups of grad, 1 where it is one run
    grad_offset: u32,   // first group in a pixel of grad
    grad_stride: u32,   // groups of a pixel of grad
    rate_offset: u32,   // group of rate
    momentum: f32,
    weight_decay: f32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;              // as parameter
@group(0) @binding(2) var<storage, read> rate: array<vec4<f32>>;              // [1]
@group(0) @binding(3) var<storage, read_write> velocity: array<vec4<f32>>;    // as parameter
@group(0) @binding(4) var<storage, read_write> parameter: array<vec4<f32>>;   // [vectors]

fn decayed(i: u32) -> vec4<f32> {
    let g = grad[(i / params.groups) * params.grad_stride + params.grad_offset + i % params.groups];
    return g + params.weight_decay * parameter[i];
}

@compute @workgroup_size(WG)
fn plain(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    parameter[i] -= rate[params.rate_offset].x * decayed(i);
}

@compute @workgroup_size(WG)
fn with_momentum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let d = decayed(i);
    let now = params.momentum * velocity[i] + d;
    velocity[i] = now;
    parameter[i] -= rate[params.rate_offset].x * select(now, d + params.momentum * now, nesterov);
}
