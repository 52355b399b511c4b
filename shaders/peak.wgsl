// peak: what an adapter can do at best, to measure kernels by.
// multiply_add: eight values per lane, each v = v * factor + term, `rounds` times; out = their sum.
// copy: out[i] = x[i].
// Edges: with factor and term 1 and few rounds all numbers are whole, so the result is exact; nothing can be left out by a
// compiler, because both come from params.
// multiply_add: one invocation = eight vec4s, one vec4 of out. copy: one invocation = one vec4.

#import linear

#number AT_ONCE 8 // rounds that are written out

struct Params {
    vectors: u32,  // vec4s of out
    rounds: u32,   // multiplications and additions of each value
    factor: f32,   // of a multiplication
    term: f32,     // of an addition
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [vectors]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // [vectors]

@compute @workgroup_size(WG)
fn multiply_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    let factor = vec4<f32>(params.factor);
    let term = vec4<f32>(params.term);
    // Eight chains that do not wait for each other: an addition takes several cycles, and one begins in each.
    var v0 = vec4<f32>(f32(i));
    var v1 = v0 + 1.0;
    var v2 = v0 + 2.0;
    var v3 = v0 + 3.0;
    var v4 = v0 + 4.0;
    var v5 = v0 + 5.0;
    var v6 = v0 + 6.0;
    var v7 = v0 + 7.0;
    // Several rounds at once, for what it takes to count them is no part of the peak.
    for (var round = 0u; round < params.rounds / AT_ONCE; round++) {
        #each round AT_ONCE
        #each v 8
        v{v} = v{v} * factor + term;
        #end
        #end
    }
    for (var round = 0u; round < params.rounds % AT_ONCE; round++) {
        #each v 8
        v{v} = v{v} * factor + term;
        #end
    }
    out[i] = ((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7));
}

@compute @workgroup_size(WG)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    out[i] = x[i];
}
