// not_finite: told by the bits, for compilers may assume that comparisons, minima and limits meet no NaN. What went wrong must
// show at the end, and not be a zero or a limit on the way.

fn is_nan(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

fn not_finite(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
}

// v where `by` is positive or a NaN, else 0.
fn where_positive(v: vec4<f32>, by: vec4<f32>) -> vec4<f32> {
    return select(v, vec4<f32>(0.0), (by <= vec4<f32>(0.0)) & !is_nan(by));
}

// v where `by` lies between limits or is a NaN, else 0.
fn where_between(v: vec4<f32>, by: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    return select(v, vec4<f32>(0.0), ((by <= vec4<f32>(low)) | (by >= vec4<f32>(high))) & !is_nan(by));
}

// v within limits, unless it is not finite.
fn limited(v: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    return select(clamp(v, vec4<f32>(low), vec4<f32>(high)), v, not_finite(v));
}
