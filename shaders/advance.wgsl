// advance: what a replay reads and writes at the step it has reached: now = table[step], history[step] = value, step += 1.
// Edges: a step beyond the last row means the last row.
// A table is `rows` rows of as many vec4s as `now`; a history the same of `value`.
// One invocation = one vec4 of the row.

#import linear

struct Params {
    rows: u32,          // rows of the table or history
    vectors: u32,       // vec4s of a row
    groups: u32,        // channel groups of now, or of value
    value_offset: u32,  // first group in a pixel of now, or of value
    value_stride: u32,  // groups of a pixel of now, or of value
    increment: u32,     // what next adds
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> steps_done: array<u32>;   // [1], the step counted from 0
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>;       // table [rows, vectors], or value [vectors]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;    // now [vectors], or history [rows, vectors]

// Where vec4 i of the row of this step lies.
fn in_row(i: u32) -> u32 {
    return min(steps_done[0], params.rows - 1u) * params.vectors + i;
}

// Where vec4 i of now, or of value, lies.
fn in_value(i: u32) -> u32 {
    return (i / params.groups) * params.value_stride + params.value_offset + i % params.groups;
}

@compute @workgroup_size(WG)
fn read_row(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    out[in_value(i)] = source[in_row(i)];
}

@compute @workgroup_size(WG)
fn write_row(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let i = linear_index(group, groups, lane);
    if (i >= params.vectors) { return; }
    out[in_row(i)] = source[in_value(i)];
}

@compute @workgroup_size(1)
fn next() {
    steps_done[0] += params.increment;
}
