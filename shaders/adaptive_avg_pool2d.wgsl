// adaptive_avg_pool2d: y[n,c,oy,ox] = mean of x[n,c,iy,ix] over floor(oy*H/OH) <= iy < ceil((oy+1)*H/OH), and ix likewise
// grad_x[n,c,iy,ix] = sum of grad_y / count over the windows that see (iy, ix): a gather, in row-major order of the windows.
// Edges: windows overlap where the sizes do not divide, and repeat pixels where the output is the larger.
// One invocation = four channels of one pixel of y in forward, of grad_x in grad_input.

#import linear

struct Params {
    n: u32,         // pictures
    h: u32,         // input height
    w: u32,
    groups: u32,    // channel groups
    oh: u32,        // output height
    ow: u32,
    x_offset: u32,  // first group in a pixel of x, or of grad_x
    x_stride: u32,  // groups of a pixel of x, or of grad_x
    y_offset: u32,  // the same of y, or of grad_y
    y_stride: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;            // [N, H, W, C/4]
@group(0) @binding(2) var<storage, read> grad_y: array<vec4<f32>>;       // [N, OH, OW, C/4]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // y or grad_x

// Pixels [first, end) of `size` that window number o of `count` covers.
fn covered(o: u32, size: u32, count: u32) -> vec2<u32> {
    return vec2<u32>(o * size / count, ((o + 1u) * size + count - 1u) / count);
}

// The same relation the other way round: windows [first, end) of `count` that see pixel number i of `size`.
fn seen_by(i: u32, size: u32, count: u32) -> vec2<u32> {
    return covered(i, count, size);
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.oh * params.ow) { return; }
    let picture = p / (params.oh * params.ow);
    let rows = covered((p / params.ow) % params.oh, params.h, params.oh);
    let columns = covered(p % params.ow, params.w, params.ow);
    var sum = vec4<f32>(0.0);
    for (var iy = rows.x; iy < rows.y; iy++) {
        // A sum for each row: rounding grows with the side of the window, not with its area.
        var row = vec4<f32>(0.0);
        for (var ix = columns.x; ix < columns.y; ix++) {
            row += x[((picture * params.h + iy) * params.w + ix) * params.x_stride + params.x_offset + c];
        }
        sum += row;
    }
    let count = f32((rows.y - rows.x) * (columns.y - columns.x));
    out[p * params.y_stride + params.y_offset + c] = sum / count;
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.h * params.w) { return; }
    let picture = p / (params.h * params.w);
    let windows_y = seen_by((p / params.w) % params.h, params.h, params.oh);
    let windows_x = seen_by(p % params.w, params.w, params.ow);
    var sum = vec4<f32>(0.0);
    for (var oy = windows_y.x; oy < windows_y.y; oy++) {
        let rows = covered(oy, params.h, params.oh);
        for (var ox = windows_x.x; ox < windows_x.y; ox++) {
            let columns = covered(ox, params.w, params.ow);
            let q = (picture * params.oh + oy) * params.ow + ox;
            let count = f32((rows.y - rows.x) * (columns.y - columns.x));
            sum += grad_y[q * params.y_stride + params.y_offset + c] / count;
        }
    }
    out[p * params.x_stride + params.x_offset + c] = sum;
}
