// distance, with d = x - goal over all elements of a picture:
//   L1              y[n] = sum of |d|         grad_x = grad_y[n] * sign(d), 0 where d = 0
//   L2              y[n] = sqrt(sum of d^2)   grad_x = grad_y[n] * d / y[n], 0 where y[n] = 0
//   sum of squares  y[n] = sum of d^2         grad_x = grad_y[n] * 2d
// Edges: the lanes that fill up the last channel group are 0 in x and in goal, so they add nothing.
// One workgroup = one picture in forward, or PART vec4s of one in part, whose sums join adds up; one invocation = four channels
// of one pixel in grad_input.

#import linear
#import reduce

override metric: u32 = 0u; // L1, L2 or SUM_OF_SQUARES

const L1: u32 = 0u;
const L2: u32 = 1u;
const SUM_OF_SQUARES: u32 = 2u;

struct Params {
    vectors: u32,      // vec4s of x
    groups: u32,       // channel groups of x
    n: u32,            // pictures
    area: u32,         // pixels of a picture
    x_offset: u32,     // first group in a pixel of x
    x_stride: u32,     // groups of a pixel of x
    goal_offset: u32,  // the same of goal
    goal_stride: u32,
    gx_offset: u32,    // the same of grad_x
    gx_stride: u32,
    y_offset: u32,     // first group in a picture of y
    y_stride: u32,     // groups of a picture of y
    g_offset: u32,     // the same of grad_y
    g_stride: u32,
    parts: u32,        // of a picture
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4], or sums of parts [N, parts] in join
@group(0) @binding(2) var<storage, read> goal: array<vec4<f32>>;         // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read> y: array<vec4<f32>>;            // [N]
@group(0) @binding(4) var<storage, read> grad_y: array<vec4<f32>>;       // [N]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;    // y [N], sums of parts [N, parts] or grad_x [N, H, W, C/4]

fn difference(pixel: u32, c: u32) -> vec4<f32> {
    return x[pixel * params.x_stride + params.x_offset + c] - goal[pixel * params.goal_stride + params.goal_offset + c];
}

const PART: u32 = 4096u;

// What a lane adds up of vec4s `first` to `end` of a picture.
fn sum_of(n: u32, first: u32, end: u32, lane: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var k = first + lane; k < end; k += 64u) {
        let d = difference(n * params.area + k / params.groups, k % params.groups);
        if (metric == L1) {
            sum += abs(d);
        } else {
            sum += d * d;
        }
    }
    return sum;
}

fn store(n: u32, sum: vec4<f32>) {
    var total = dot(sum, vec4<f32>(1.0));
    if (metric == L2) { total = sqrt(total); }
    out[n * params.y_stride + params.y_offset] = vec4<f32>(total, 0.0, 0.0, 0.0);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let sum = workgroup_sum(lane, sum_of(n, 0u, params.area * params.groups, lane));
    if (lane == 0u) { store(n, sum); }
}

@compute @workgroup_size(64)
fn part(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = group.x + group.y * groups.x;
    let n = i / params.parts;
    if (n >= params.n) { return; }
    let first = (i % params.parts) * PART;
    let sum = workgroup_sum(lane, sum_of(n, first, min(first + PART, params.area * params.groups), lane));
    if (lane == 0u) { out[i] = sum; }
}

@compute @workgroup_size(64)
fn join(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    var own = vec4<f32>(0.0);
    for (var k = lane; k < params.parts; k += 64u) {
        own += x[n * params.parts + k];
    }
    let sum = workgroup_sum(lane, own);
    if (lane == 0u) { store(n, sum); }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / params.area;
    let d = difference(pixel, c);
    var slope = 2.0 * d;
    if (metric == L1) { slope = sign(d); }
    if (metric == L2) {
        let length = y[n * params.y_stride + params.y_offset].x;
        slope = select(vec4<f32>(0.0), d / max(length, 1e-30), length > 0.0);
    }
    out[pixel * params.gx_stride + params.gx_offset + c] = grad_y[n * params.g_stride + params.g_offset].x * slope;
}
