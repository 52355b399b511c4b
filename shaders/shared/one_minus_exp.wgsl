// one_minus_exp: 1 - e^z for z < 0, by its series near 0, where the difference would cancel.

fn one_minus_exp(z: f32) -> f32 {
    if (z > -0.1) {
        return -z * (1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0 * (1.0 + z / 5.0))));
    }
    return 1.0 - exp(z);
}
