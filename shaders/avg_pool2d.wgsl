// avg_pool2d: y[n,c,oy,ox] = sum over ky,kx of x[n,c,oy*stride-padding+ky,ox*stride-padding+kx] / count
// grad_x[n,c,iy,ix] = sum of grad_y / count over the windows that see (iy, ix): a gather, in row-major order of the windows.
// Edges: outside of x is zero. count is that of the pixels of the window that lie inside of x and its padding, or inside of x:
// a last window may reach beyond both.
// One invocation = four channels of one pixel of y in forward, of grad_x in grad_input.

#import linear
#import window

override count_include_pad: bool = true;

struct Params {
    n: u32,         // pictures
    h: u32,         // input height
    w: u32,
    groups: u32,    // channel groups
    oh: u32,        // output height
    ow: u32,
    kh: u32,        // window height
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,     // zeros above and to the left
    pad_w: u32,
    end_h: u32,     // input height with its padding on both sides
    end_w: u32,
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

// Pixels [first, end) that window number o covers along one side.
fn covered(o: u32, stride: u32, pad: u32, kernel: u32, size: u32) -> vec2<u32> {
    let first = i32(o * stride) - i32(pad);
    return vec2<u32>(u32(max(first, 0)), min(u32(first + i32(kernel)), size));
}

fn count(oy: u32, ox: u32, rows: vec2<u32>, columns: vec2<u32>) -> f32 {
    if (count_include_pad) {
        let first = vec2<u32>(oy * params.stride_h, ox * params.stride_w);
        let end = min(first + vec2<u32>(params.kh, params.kw), vec2<u32>(params.end_h, params.end_w));
        return f32((end.x - first.x) * (end.y - first.y));
    }
    return f32((rows.y - rows.x) * (columns.y - columns.x));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.oh * params.ow) { return; }
    let picture = p / (params.oh * params.ow);
    let oy = (p / params.ow) % params.oh;
    let ox = p % params.ow;
    let rows = covered(oy, params.stride_h, params.pad_h, params.kh, params.h);
    let columns = covered(ox, params.stride_w, params.pad_w, params.kw, params.w);
    var sum = vec4<f32>(0.0);
    for (var iy = rows.x; iy < rows.y; iy++) {
        for (var ix = columns.x; ix < columns.y; ix++) {
            sum += x[((picture * params.h + iy) * params.w + ix) * params.x_stride + params.x_offset + c];
        }
    }
    out[p * params.y_stride + params.y_offset + c] = sum / count(oy, ox, rows, columns);
}

@compute @workgroup_size(WG)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    let c = i % params.groups;
    let p = i / params.groups;
    if (p >= params.n * params.h * params.w) { return; }
    let picture = p / (params.h * params.w);
    let down = (p / params.w) % params.h + params.pad_h;
    let right = p % params.w + params.pad_w;
    let end_oy = end_window(down, params.stride_h, params.oh);
    let first_ox = first_window(right, params.kw, params.stride_w);
    let end_ox = end_window(right, params.stride_w, params.ow);
    var sum = vec4<f32>(0.0);
    for (var oy = first_window(down, params.kh, params.stride_h); oy < end_oy; oy++) {
        let rows = covered(oy, params.stride_h, params.pad_h, params.kh, params.h);
        for (var ox = first_ox; ox < end_ox; ox++) {
            let columns = covered(ox, params.stride_w, params.pad_w, params.kw, params.w);
            let q = (picture * params.oh + oy) * params.ow + ox;
            sum += grad_y[q * params.y_stride + params.y_offset + c] / count(oy, ox, rows, columns);
        }
    }
    out[p * params.x_stride + params.x_offset + c] = sum;
}
