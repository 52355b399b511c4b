// cross_entropy: y[n] = -sum over c of p[c] * log softmax(x[n])[c], p = (1 - smoothing) * onehot(label[n]) + smoothing / C
//                grad_x[n,c] = grad_y[n] * (softmax(x[n])[c] - p[c])
// With m the largest logit, y = log(sum of exp(x - m)) + sum of p * (m - x): no term overflows, whatever the logits.
// Edges: the lanes that fill up the last channel group take no part and get gradient 0. A label beyond
// the last class means the last one.
// One workgroup = one picture.

#import reduce

struct Params {
    n: u32,             // pictures
    c: u32,             // classes
    groups: u32,        // groups of four classes
    smoothing: f32,     // 0 to 1
    label_offset: u32,  // first group in a picture of label
    label_stride: u32,  // groups of a picture of label
    x_offset: u32,      // the same of x
    x_stride: u32,
    y_offset: u32,      // the same of y, or of grad_y
    y_stride: u32,
    gx_offset: u32,     // the same of grad_x
    gx_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, C/4]
@group(0) @binding(2) var<storage, read> label: array<vec4<f32>>;        // [N]: a whole number, 0, 0, 0
@group(0) @binding(3) var<storage, read> grad_y: array<vec4<f32>>;       // [N]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;    // y [N] or grad_x [N, C/4]

fn classes(c: u32) -> vec4<u32> {
    return vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
}

// The value in the lanes of group c that are classes, `otherwise` in those that only fill up.
fn real(c: u32, value: vec4<f32>, otherwise: f32) -> vec4<f32> {
    return select(vec4<f32>(otherwise), value, classes(c) < vec4<u32>(params.c));
}

fn logits(n: u32, c: u32) -> vec4<f32> {
    return x[n * params.x_stride + params.x_offset + c];
}

// p of the four classes of group c.
fn wanted(n: u32, c: u32) -> vec4<f32> {
    let correct = min(u32(label[n * params.label_stride + params.label_offset].x), params.c - 1u);
    let hit = select(vec4<f32>(0.0), vec4<f32>(1.0 - params.smoothing), classes(c) == vec4<u32>(correct));
    return hit + params.smoothing / f32(params.c);
}

// Every invocation finds the maximum on its own: a thousand logits are 250 loads, from a cache.
fn largest(n: u32) -> f32 {
    var most = vec4<f32>(logits(n, 0u).x);
    for (var c = 0u; c < params.groups; c++) {
        most = max(most, real(c, logits(n, c), most.x));
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let m = largest(n);
    var powers = vec4<f32>(0.0);
    var distances = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        let v = logits(n, c);
        powers += real(c, exp(v - m), 0.0);
        distances += real(c, wanted(n, c) * (m - v), 0.0);
    }
    let one = vec4<f32>(1.0);
    let sums = workgroup_sum(lane, vec4<f32>(dot(powers, one), dot(distances, one), 0.0, 0.0));
    if (lane == 0u) {
        out[n * params.y_stride + params.y_offset] = vec4<f32>(log(sums.x) + sums.y, 0.0, 0.0, 0.0);
    }
}

@compute @workgroup_size(64)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    let m = largest(n);
    var powers = vec4<f32>(0.0);
    for (var c = lane; c < params.groups; c += 64u) {
        powers += real(c, exp(logits(n, c) - m), 0.0);
    }
    let total = workgroup_sum(lane, vec4<f32>(dot(powers, vec4<f32>(1.0)), 0.0, 0.0, 0.0)).x;
    let g = grad_y[n * params.y_stride + params.y_offset].x;
    for (var c = lane; c < params.groups; c += 64u) {
        let slope = exp(logits(n, c) - m) / total - wanted(n, c);
        out[n * params.gx_stride + params.gx_offset + c] = g * real(c, slope, 0.0);
    }
}
