// check_finite: flags[slot] = 1 when any element of x is infinite or not a number, else 0.
// By the bits of the exponent: compilers may assume that comparisons see no NaN.
// One workgroup = PART vec4s of the value, with a flag of its own; join makes one flag of all of them.

#import reduce

struct Params {
    vectors: u32,   // vec4s of the value
    groups: u32,    // channel groups of the value
    x_offset: u32,  // first group in a pixel of x
    x_stride: u32,  // groups of a pixel of x
    slot: u32,      // which flag, or the first of those of the parts
    parts: u32,     // workgroups of check
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [N, H, W, C/4], or the flags of the parts in join
@group(0) @binding(2) var<storage, read_write> flags: array<f32>;

const PART: u32 = 4096u;

const EXPONENT: vec4<u32> = vec4<u32>(0x7f800000u);

@compute @workgroup_size(64)
fn check(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let part = group.x + group.y * groups.x;
    if (part >= params.parts) { return; } // the whole workgroup: what the folding of the grid left over
    var found = vec4<f32>(0.0);
    for (var i = part * PART + lane; i < min((part + 1u) * PART, params.vectors); i += 64u) {
        let v = x[(i / params.groups) * params.x_stride + params.x_offset + i % params.groups];
        found = select(found, vec4<f32>(1.0), (bitcast<vec4<u32>>(v) & EXPONENT) == EXPONENT);
    }
    let total = dot(workgroup_sum(lane, found), vec4<f32>(1.0));
    if (lane == 0u) { flags[params.slot + part] = select(0.0, 1.0, total > 0.0); }
}

// One workgroup = the flags of all parts.
@compute @workgroup_size(64)
fn join(@builtin(local_invocation_index) lane: u32) {
    var found = vec4<f32>(0.0);
    for (var i = lane; i < params.vectors; i += 64u) {
        found += x[i];
    }
    let total = dot(workgroup_sum(lane, found), vec4<f32>(1.0));
    if (lane == 0u) { flags[params.slot] = select(0.0, 1.0, total > 0.0); }
}
