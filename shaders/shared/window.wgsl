// window: which windows along one side see a pixel; `at` counts the pixel from the outer edge of the padding.

fn first_window(at: u32, size: u32, stride: u32) -> u32 {
    return select(0u, (at - size) / stride + 1u, at >= size);
}

fn end_window(at: u32, stride: u32, count: u32) -> u32 {
    return min(at / stride + 1u, count);
}
