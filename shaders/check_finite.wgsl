// check_finite: flags[slot] = 1 when any element of x is infinite or not a number, else -1 when all are zero, else 0.
// One workgroup = PART vec4s of the value, with a flag of its own; join makes one flag of all of them.

#import not_finite
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

const SIGN: vec4<u32> = vec4<u32>(0x80000000u);

// Sets a flag from what all lanes have found: odd elements, and some that are not zero.
fn raise(slot: u32, lane: u32, odd: vec4<bool>, some: vec4<bool>) {
    let counts = workgroup_sum(lane, vec4<f32>(select(0.0, 1.0, any(odd)), select(0.0, 1.0, any(some)), 0.0, 0.0));
    if (lane == 0u) { flags[slot] = select(select(0.0, -1.0, counts.y == 0.0), 1.0, counts.x > 0.0); }
}

@compute @workgroup_size(64)
fn check(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let part = group.x + group.y * groups.x;
    if (part >= params.parts) { return; } // the whole workgroup: what the folding of the grid left over
    var odd = vec4<bool>(false);
    var some = vec4<bool>(false);
    for (var i = part * PART + lane; i < min((part + 1u) * PART, params.vectors); i += 64u) {
        let v = x[(i / params.groups) * params.x_stride + params.x_offset + i % params.groups];
        odd = odd | not_finite(v);
        some = some | ((bitcast<vec4<u32>>(v) & ~SIGN) != vec4<u32>(0u));
    }
    raise(params.slot + part, lane, odd, some);
}

// One workgroup = the flags of all parts.
@compute @workgroup_size(64)
fn join(@builtin(local_invocation_index) lane: u32) {
    var odd = vec4<bool>(false);
    var some = vec4<bool>(false);
    for (var i = lane; i < params.vectors; i += 64u) {
        odd = odd | (x[i] > vec4<f32>(0.0));
        some = some | (x[i] > vec4<f32>(-1.0));
    }
    raise(params.slot, lane, odd, some);
}
