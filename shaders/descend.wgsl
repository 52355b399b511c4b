// descend: picture[n] -= rate * step[n], with g the gradient of the loss with respect to the picture and step
//   raw         g
//   normalized  g / mean |g[n]|, the mean over `count` elements, since g is 0 outside of the window; 0 where the mean is 0
//   adam        m' / (sqrt(v') + eps), m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, m' = m / (1 - beta1^t),
//               v' = v / (1 - beta2^t), t = 1 at the first step (Kingma and Ba 2015, algorithm 1, as torch.optim.Adam)
// and then, where asked for, clamped to [low, high], unless it is not finite.
// Edges: the lanes that fill up the last channel group stay 0, whatever the limits.
// One invocation = four channels of one pixel; in sum_abs one workgroup = one part of a picture.

#import linear
#import not_finite
#import one_minus_exp
#import reduce

override has_limits: bool = false;

const LN_BETA1: f32 = -0.10536051565782628;   // ln 0.9
const LN_BETA2: f32 = -0.0010005003335835335; // ln 0.999
const EPS: f32 = 1e-8;

struct Params {
    vectors: u32,         // vec4s of the picture
    groups: u32,          // channel groups of the picture
    n: u32,               // pictures in the batch
    c: u32,               // channels
    area: u32,            // pixels of a picture
    count: f32,           // elements of the mean
    low: f32,             // limits
    high: f32,
    picture_offset: u32,  // first group in a pixel of picture
    picture_stride: u32,  // groups of a pixel of picture
    grad_offset: u32,     // the same of grad
    grad_stride: u32,
    rate_offset: u32,     // group of rate
    parts: u32,           // of a picture, whose sums are taken apart: one workgroup alone would leave a GPU idle
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> rate: array<vec4<f32>>;            // [1]
@group(0) @binding(3) var<storage, read> steps_done: array<u32>;            // [1], the step counted from 0
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;      // [N, parts], of |grad|
@group(0) @binding(5) var<storage, read_write> m: array<vec4<f32>>;         // [N, H, W, C/4], running mean of grad
@group(0) @binding(6) var<storage, read_write> v: array<vec4<f32>>;         // [N, H, W, C/4], running mean of its square
@group(0) @binding(7) var<storage, read_write> picture: array<vec4<f32>>;   // [N, H, W, C/4]

fn gradient(i: u32) -> vec4<f32> {
    return grad[(i / params.groups) * params.grad_stride + params.grad_offset + i % params.groups];
}

fn take_step(i: u32, direction: vec4<f32>) {
    let c = i % params.groups;
    let at = (i / params.groups) * params.picture_stride + params.picture_offset + c;
    var value = picture[at] - rate[params.rate_offset].x * direction;
    if (has_limits) {
        let real = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.c);
        value = select(vec4<f32>(0.0), limited(value, params.low, params.high), real);
    }
    picture[at] = value;
}

@compute @workgroup_size(WG)
fn raw(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    take_step(i, gradient(i));
}

@compute @workgroup_size(64)
fn sum_abs(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let index = group.x + group.y * groups.x;
    if (index >= params.n * params.parts) { return; }
    let n = index / params.parts;
    let size = params.area * params.groups;
    let share = (size + params.parts - 1u) / params.parts;
    let first = (index - n * params.parts) * share;
    var sum = vec4<f32>(0.0);
    for (var k = first + lane; k < min(first + share, size); k += 64u) {
        sum += abs(gradient(n * size + k));
    }
    let total = dot(workgroup_sum(lane, sum), vec4<f32>(1.0));
    if (lane == 0u) { sums[index] = vec4<f32>(total, 0.0, 0.0, 0.0); }
}

@compute @workgroup_size(WG)
fn normalized(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let n = i / (params.area * params.groups);
    var size = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        size += sums[n * params.parts + part].x;
    }
    size /= params.count;
    // Not `size > 0`: a mean that is not a number must show in the picture.
    if (size == 0.0) {
        take_step(i, vec4<f32>(0.0));
    } else {
        take_step(i, gradient(i) / size);
    }
}

@compute @workgroup_size(WG)
fn adam(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let g = gradient(i);
    m[i] = 0.9 * m[i] + 0.1 * g;
    v[i] = 0.999 * v[i] + 0.001 * g * g;
    let t = f32(steps_done[0]) + 1.0;
    let size = sqrt(v[i] / one_minus_exp(t * LN_BETA2)) + EPS;
    take_step(i, m[i] / one_minus_exp(t * LN_BETA1) / size);
}
