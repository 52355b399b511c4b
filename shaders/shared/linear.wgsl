// linear: one invocation per element, for dispatches folded into two dimensions.

override WG: u32 = 64u; // invocations in a workgroup, 1 to 256

fn linear_index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.x + group.y * groups.x) * WG + lane;
}
