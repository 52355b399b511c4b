// adam: g = grad + weight_decay * parameter, m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
// parameter -= rate * m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t), t = 1 at the first step.
// Kingma and Ba 2015, algorithm 1, as torch.optim.Adam: weight decay joins the gradient before the means.
// Edges: lanes that fill up have parameter and gradient 0, so they stay 0. Any layout will do: a parameter is a run of vec4s.
// One invocation = one vec4.

#import linear
#import one_minus_exp

struct Params {
    vectors: u32,       // vec4s of the parameter
    groups: u32,        // channel groups of grad, 1 where it is one run
    grad_offset: u32,   // first group in a pixel of grad
    grad_stride: u32,   // groups of a pixel of grad
    rate_offset: u32,   // group of rate
    beta1: f32,
    beta2: f32,
    ln_beta1: f32,      // natural logarithms, of which the powers are made
    ln_beta2: f32,
    eps: f32,
    weight_decay: f32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;              // as parameter
@group(0) @binding(2) var<storage, read> rate: array<vec4<f32>>;              // [1]
@group(0) @binding(3) var<storage, read> steps_done: array<u32>;              // [1], the step counted from 0
@group(0) @binding(4) var<storage, read_write> m: array<vec4<f32>>;           // as parameter, running mean of g
@group(0) @binding(5) var<storage, read_write> v: array<vec4<f32>>;           // as parameter, running mean of its square
@group(0) @binding(6) var<storage, read_write> parameter: array<vec4<f32>>;   // [vectors]

@compute @workgroup_size(WG)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let at = (i / params.groups) * params.grad_stride + params.grad_offset + i % params.groups;
    let g = grad[at] + params.weight_decay * parameter[i];
    let mean = params.beta1 * m[i] + (1.0 - params.beta1) * g;
    let square = params.beta2 * v[i] + (1.0 - params.beta2) * g * g;
    m[i] = mean;
    v[i] = square;
    let t = f32(steps_done[0]) + 1.0;
    let size = sqrt(square / one_minus_exp(t * params.ln_beta2)) + params.eps;
    let direction = mean / one_minus_exp(t * params.ln_beta1) / size;
    parameter[i] -= rate[params.rate_offset].x * direction;
}
