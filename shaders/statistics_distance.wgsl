// statistics_distance: how far mean m and biased variance v over the pixels of a picture lie from running ones, mu and var:
//   y[n] = mean over c of (m - mu)^2 / (var + eps) + l^2,  l = log((v + eps) / (var + eps))
//   grad_x = grad_y[n] / C * (2 (m - mu) / (var + eps) + 4 l (x - m) / (v + eps)) / P, with P pixels in a picture
// Edges: each picture is compared alone, whatever else its batch holds. A picture of one pixel has no variance: l is 0.
// The mean may be far from zero next to the spread, so the variance takes a second pass around the mean of the first.
// One workgroup = four channels of a picture in statistics, one picture in forward; one invocation = four channels of one
// pixel in grad_input.

#import linear
#import reduce

struct Params {
    vectors: u32,    // vec4s of x
    groups: u32,     // channel groups of x
    n: u32,          // pictures
    c: u32,          // channels
    area: u32,       // P
    eps: f32,        // added to the variances
    x_offset: u32,   // first group in a pixel of x
    x_stride: u32,   // groups of a pixel of x
    gx_offset: u32,  // the same of grad_x
    gx_stride: u32,
    y_offset: u32,   // first group in a picture of y, or of grad_y
    y_stride: u32,   // groups of a picture of y, or of grad_y
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                    // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> running_mean: array<vec4<f32>>;         // [C/4]
@group(0) @binding(3) var<storage, read> running_var: array<vec4<f32>>;          // [C/4]
@group(0) @binding(4) var<storage, read> mean: array<vec4<f32>>;                 // [N, C/4]
@group(0) @binding(5) var<storage, read> variance: array<vec4<f32>>;             // [N, C/4]
@group(0) @binding(6) var<storage, read> grad_y: array<vec4<f32>>;               // [N]
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;            // y [N], grad_x or mean
@group(0) @binding(8) var<storage, read_write> second_out: array<vec4<f32>>;     // variance

const RUN: u32 = 2048u; // pixels summed up before the sum joins the others: rounding must not grow with the picture

// The value in the lanes of group c that are channels, 0 in the others.
fn real(c: u32, value: vec4<f32>) -> vec4<f32> {
    let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), value, channel < vec4<u32>(params.c));
}

fn log_ratio(picture: u32, c: u32) -> vec4<f32> {
    if (params.area == 1u) { return vec4<f32>(0.0); }
    return log((variance[picture * params.groups + c] + params.eps) / (running_var[c] + params.eps));
}

@compute @workgroup_size(64)
fn statistics(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = group.x + group.y * groups.x;
    if (i >= params.n * params.groups) { return; }
    let c = i % params.groups;
    let first = (i / params.groups) * params.area;
    let end = first + params.area;
    let count = f32(params.area);
    var sum = vec4<f32>(0.0);
    for (var start = first + lane; start < end; start += RUN) {
        var part = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, end); p += 64u) {
            part += x[p * params.x_stride + params.x_offset + c];
        }
        sum += part;
    }
    let rough = workgroup_sum(lane, sum) / count;
    sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var start = first + lane; start < end; start += RUN) {
        var part = vec4<f32>(0.0);
        var part_squares = vec4<f32>(0.0);
        for (var p = start; p < min(start + RUN, end); p += 64u) {
            let v = x[p * params.x_stride + params.x_offset + c] - rough;
            part += v;
            part_squares += v * v;
        }
        sum += part;
        squares += part_squares;
    }
    let correction = workgroup_sum(lane, sum) / count;
    let spread = workgroup_sum(lane, squares) / count - correction * correction;
    if (lane == 0u) {
        out[i] = rough + correction;
        second_out[i] = max(spread, vec4<f32>(0.0));
    }
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    var sum = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        let off = mean[n * params.groups + c] - running_mean[c];
        let l = log_ratio(n, c);
        sum += real(c, off * off / (running_var[c] + params.eps) + l * l);
    }
    let total = dot(workgroup_sum(lane, sum), vec4<f32>(1.0)) / f32(params.c);
    if (lane == 0u) { out[n * params.y_stride + params.y_offset] = vec4<f32>(total, 0.0, 0.0, 0.0); }
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let pixel = i / params.groups;
    let c = i % params.groups;
    let n = pixel / params.area;
    let center = mean[n * params.groups + c];
    let off = (center - running_mean[c]) / (running_var[c] + params.eps);
    let spread = variance[n * params.groups + c] + params.eps;
    let v = x[pixel * params.x_stride + params.x_offset + c] - center;
    var slope = 2.0 * off;
    if (params.area > 1u) { slope += 4.0 * log_ratio(n, c) * v / spread; }
    let scale = grad_y[n * params.y_stride + params.y_offset].x / (f32(params.c) * f32(params.area));
    out[pixel * params.gx_stride + params.gx_offset + c] = scale * real(c, slope);
}
