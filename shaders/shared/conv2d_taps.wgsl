// conv2d_taps: which taps see a pixel along one side; `at` counts the pixel from the outer edge of the padding.

// The first tap that does, or the number of taps where none does; the others follow in steps of stride / gcd(stride, dilation).
fn first_tap(at: u32, taps: u32, stride: u32, dilation: u32) -> u32 {
    for (var k = 0u; k < min(taps, stride); k++) {
        // at - k * dilation is a multiple of the stride, without going below zero.
        if ((at + k * dilation * (stride - 1u)) % stride == 0u) { return k; }
    }
    return taps;
}
