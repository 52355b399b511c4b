// project: keeps each picture within an L2 ball around a clean one, with d = picture - clean:
//   start  d = radius * u * z / |z|, z normal, u uniform in (0, 1)
//   climb  d += rate * g / (|g| + 1e-12), g the gradient; d *= min(1, radius / |d|); picture = clamp(clean + d, 0, 1)
// The L2 attack of Madry et al. 2018. The clamp only brings d nearer to 0 for a clean picture within 0 and 1.
// Edges: random numbers depend on seed, step, picture and place alone, not on the adapter's order of execution. The lanes that
// fill up the last channel group stay 0.
// One workgroup = one picture.

#import not_finite
#import reduce

struct Params {
    n: u32,            // pictures in the batch
    c: u32,            // channels
    groups: u32,       // channel groups
    size: u32,         // vec4s of a picture
    grad_offset: u32,  // first group in a pixel of grad
    grad_stride: u32,  // groups of a pixel of grad
    seed: u32,         // of the random numbers
    radius: f32,       // of the ball, in units of pixel values
    rate: f32,         // length of a step, in the same units
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> clean: array<vec4<f32>>;           // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(3) var<storage, read> steps_done: array<u32>;            // [1], the step counted from 0
@group(0) @binding(4) var<storage, read_write> picture: array<vec4<f32>>;   // [N, H, W, C/4]

// Four hashes of four numbers: pcg4d of Jarzynski and Olano, "Hash functions for GPU rendering" (2020).
fn hash(key: vec4<u32>) -> vec4<u32> {
    var h = key * 1664525u + 1013904223u;
    for (var round = 0u; round < 2u; round++) {
        h.x += h.y * h.w;
        h.y += h.z * h.x;
        h.z += h.x * h.y;
        h.w += h.y * h.z;
        h ^= h >> vec4<u32>(16u);
    }
    return h;
}

fn uniform4(n: u32, k: u32) -> vec4<f32> {
    return (vec4<f32>(hash(vec4<u32>(k, n, steps_done[0], params.seed)) >> vec4<u32>(8u)) + 0.5) / 16777216.0;
}

// Four normal numbers by Box and Muller, 0 in the lanes that only fill up.
fn normal4(n: u32, k: u32) -> vec4<f32> {
    let u = uniform4(n, k);
    let length = sqrt(-2.0 * log(u.xy));
    let angle = 6.283185307179586 * u.zw;
    let z = vec4<f32>(length * cos(angle), length * sin(angle));
    let channel = vec4<u32>(4u * (k % params.groups)) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), z, channel < vec4<u32>(params.c));
}

fn gradient(n: u32, k: u32) -> vec4<f32> {
    let pixel = (n * params.size + k) / params.groups;
    return grad[pixel * params.grad_stride + params.grad_offset + k % params.groups];
}

// The root of the sum of squares over the workgroup.
fn workgroup_length(lane: u32, squares: vec4<f32>) -> f32 {
    return sqrt(dot(workgroup_sum(lane, squares), vec4<f32>(1.0)));
}

@compute @workgroup_size(64)
fn start(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    var squares = vec4<f32>(0.0);
    for (var k = lane; k < params.size; k += 64u) {
        let z = normal4(n, k);
        squares += z * z;
    }
    // The number after those of the picture.
    let scale = params.radius * uniform4(n, params.size).x / workgroup_length(lane, squares);
    for (var k = lane; k < params.size; k += 64u) {
        let at = n * params.size + k;
        picture[at] = clean[at] + scale * normal4(n, k);
    }
}

@compute @workgroup_size(64)
fn climb(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let n = group.x + group.y * groups.x;
    if (n >= params.n) { return; }
    var squares = vec4<f32>(0.0);
    for (var k = lane; k < params.size; k += 64u) {
        let g = gradient(n, k);
        squares += g * g;
    }
    let scale = params.rate / (workgroup_length(lane, squares) + 1e-12);
    squares = vec4<f32>(0.0);
    for (var k = lane; k < params.size; k += 64u) {
        let at = n * params.size + k;
        let d = picture[at] - clean[at] + scale * gradient(n, k);
        squares += d * d;
    }
    let distance = workgroup_length(lane, squares);
    let share = min(1.0, params.radius / max(distance, 1e-12));
    for (var k = lane; k < params.size; k += 64u) {
        let at = n * params.size + k;
        let d = picture[at] - clean[at] + scale * gradient(n, k);
        picture[at] = limited(clean[at] + share * d, 0.0, 1.0);
    }
}
