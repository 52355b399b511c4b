// reduce: the sum of one vec4 from each of the 64 invocations of a workgroup, in a fixed order.

var<workgroup> wg_sums: array<vec4<f32>, 64>;

fn workgroup_sum(lane: u32, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier(); // an earlier sum has been read by all
    wg_sums[lane] = value;
    workgroupBarrier(); // every value is in place
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (lane < half) {
            wg_sums[lane] += wg_sums[lane + half];
        }
        workgroupBarrier(); // this round is complete before the next reads it
    }
    return wg_sums[0];
}
