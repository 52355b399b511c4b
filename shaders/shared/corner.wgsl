// corner: top and left of a window of a picture, as asked for, moved inside; `room` is how far down and right it can begin.

fn inside_corner(wanted: vec2<f32>, room: vec2<u32>) -> vec2<u32> {
    return min(vec2<u32>(max(wanted, vec2<f32>(0.0))), room);
}
