// channels: y[n,c,h,w] = x[n, first + (c mod groups) * (count / groups) + c div groups, h, w] for c < count:
// some channels of x, and these shuffled, as if [groups, count / groups] were transposed. grad_x is grad_y there and else 0.
// Edges: lanes that fill up the last channel group are zero.
// One invocation = four channels of one pixel of y in forward, of grad_x in grad_input.

#import linear

struct Params {
    pixels: u32,    // N*H*W
    c: u32,         // channels of x
    first: u32,     // first channel that is taken
    count: u32,     // channels that are taken, those of y
    groups: u32,    // of the shuffle, 1 for none
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;       // x or grad_y, [N, H, W, C/4]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x, [N, H, W, C/4]

// Channel c of y, of pixel p.
fn taken(p: u32, c: u32) -> f32 {
    if (c >= params.count) { return 0.0; }
    let j = c / params.groups;
    let from_channel = params.first + (c - j * params.groups) * (params.count / params.groups) + j;
    return source[p * params.x_stride + params.x_offset + from_channel / 4u][from_channel % 4u];
}

// Channel c of grad_x, of pixel p.
fn given(p: u32, c: u32) -> f32 {
    let k = c - params.first; // beyond the count where c comes before
    if (k >= params.count) { return 0.0; }
    let size = params.count / params.groups;
    let i = k / size;
    let to = (k - i * size) * params.groups + i;
    return source[p * params.y_stride + params.y_offset + to / 4u][to % 4u];
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = divide(i, (params.count + 3u) / 4u);
    let c = i - p * ((params.count + 3u) / 4u);
    if (p >= params.pixels) { return; }
    let first = 4u * c;
    out[p * params.y_stride + params.y_offset + c] =
        vec4<f32>(taken(p, first), taken(p, first + 1u), taken(p, first + 2u), taken(p, first + 3u));
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let p = divide(i, (params.c + 3u) / 4u);
    let c = i - p * ((params.c + 3u) / 4u);
    if (p >= params.pixels) { return; }
    let first = 4u * c;
    out[p * params.x_stride + params.x_offset + c] =
        vec4<f32>(given(p, first), given(p, first + 1u), given(p, first + 2u), given(p, first + 3u));
}
