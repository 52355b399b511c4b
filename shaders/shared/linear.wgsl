// linear: one invocation per element, for dispatches folded into two dimensions.

override WG: u32 = 64u; // invocations in a workgroup, 1 to 256

fn linear_index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.x + group.y * groups.x) * WG + lane;
}

// a / b for b > 0, exact for all u32. Processors without a vector division of integers divide floats many times faster.
fn divide(a: u32, b: u32) -> u32 {
    let reciprocal = 1.0 / f32(b);
    let coarse = u32(f32(a) * reciprocal); // off by at most 2^-22 of itself
    let rest = i32(a - coarse * b);        // small enough for the second try to be off by at most one
    var q = coarse + u32(i32(floor(f32(rest) * reciprocal)));
    let left = i32(a - q * b);
    q = select(q, q - 1u, left < 0);
    return select(q, q + 1u, left >= i32(b));
}
