// activation: the functions of `Activation`, each by its number, with up to two numbers of its own, a and b. A NaN stays one.
// The importer imports not_finite.

override ACTIVATION: u32 = 0u; // 0 none, 1 clip, 2 leaky relu, 3 sigmoid, 4 SiLU, 5 hard sigmoid, 6 hard swish, 7 GELU, 8 GELU by tanh,
                               // 9 tanh, 10 ELU, 11 softplus

// 1 - e^z for z <= 0, by its series near 0, where the difference would cancel.
fn one_minus_power(z: vec4<f32>) -> vec4<f32> {
    let late = 1.0 + z / 5.0 * (1.0 + z / 6.0 * (1.0 + z / 7.0 * (1.0 + z / 8.0)));
    let series = -z * (1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0 * late)));
    return select(1.0 - exp(z), series, z > vec4<f32>(-0.5));
}

// log(1 + t) for 0 <= t <= 1, as 2 artanh(t / (2 + t)): the logarithm itself is inexact near 1.
fn log_one_plus(t: vec4<f32>) -> vec4<f32> {
    let s = t / (2.0 + t);
    let q = s * s;
    let late = 1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0 + q / 15.0));
    return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * late))));
}

// 1 / (1 + e^-x), from a power that does not overflow.
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-abs(x));
    let r = 1.0 / (1.0 + e);
    return select(e * r, r, x >= vec4<f32>(0.0));
}

fn hyperbolic_tangent(x: vec4<f32>) -> vec4<f32> {
    let m = one_minus_power(-2.0 * abs(x));
    let t = m / (2.0 - m);
    return select(-t, t, x >= vec4<f32>(0.0));
}

// The share of a normal distribution below x: e^(-x^2/2) / 2 times erfcx(|x| / sqrt 2), a polynomial of t = 2 / (2 + |x| / sqrt 2)
// that was fitted to t between 0.1 and 1 with Chebyshev points and is off by 7e-9 of itself.
fn normal_share(x: vec4<f32>) -> vec4<f32> {
    let t = max(2.0 / (2.0 + abs(x) * 0.70710678), vec4<f32>(0.1));
    let u = t * (2.0 / 0.9) - (1.1 / 0.9);
    var p = vec4<f32>(1.4813068e-05);
    p = p * u + 2.6868686e-06;
    p = p * u - 1.3527663e-04;
    p = p * u + 8.6379187e-05;
    p = p * u + 9.2761801e-04;
    p = p * u - 1.3293125e-03;
    p = p * u - 7.9593919e-03;
    p = p * u + 9.9350223e-03;
    p = p * u + 1.1706697e-01;
    p = p * u + 3.3482665e-01;
    p = p * u + 5.4656386e-01;
    let tail = 0.5 * exp(-0.5 * x * x) * t * p;
    return select(1.0 - tail, tail, x < vec4<f32>(0.0));
}

// Twice the argument of the tanh that GELU is written with: (1 + tanh(u)) / 2 is sigmoid(2 u).
fn twice_gelu_argument(x: vec4<f32>) -> vec4<f32> {
    return 1.5957691 * x * (1.0 + 0.044715 * x * x);
}

fn activated(x: vec4<f32>, a: f32, b: f32) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    var y = x;
    if (ACTIVATION == 1u) { y = min(max(x, vec4<f32>(a)), vec4<f32>(b)); }
    if (ACTIVATION == 2u) { y = select(x * a, x, x > zero); }
    if (ACTIVATION == 3u) { y = sigmoid(x); }
    if (ACTIVATION == 4u) { y = x * sigmoid(x); }
    if (ACTIVATION == 5u) { y = clamp(x + 3.0, zero, vec4<f32>(6.0)) / 6.0; }
    if (ACTIVATION == 6u) { y = x * clamp(x + 3.0, zero, vec4<f32>(6.0)) / 6.0; }
    if (ACTIVATION == 7u) { y = x * normal_share(x); }
    if (ACTIVATION == 8u) { y = x * sigmoid(twice_gelu_argument(x)); }
    if (ACTIVATION == 9u) { y = hyperbolic_tangent(x); }
    if (ACTIVATION == 10u) { y = select(-a * one_minus_power(min(x, zero)), x, x > zero); }
    if (ACTIVATION == 11u) {
        let z = x * a;
        y = select((max(z, zero) + log_one_plus(exp(-abs(z)))) / a, x, z > vec4<f32>(b));
    }
    return select(y, x, is_nan(x));
}

// The same of four channels, of which those beyond the last only fill up and are zero, whatever the function is there.
fn activated_channels(c: u32, channels: u32, x: vec4<f32>, a: f32, b: f32) -> vec4<f32> {
    let real = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(channels);
    return select(vec4<f32>(0.0), activated(x, a, b), real);
}
