//! Convolution and the gradient of its input by tiles in workgroup memory.

use super::super::activation::Activation;
use super::super::pass::{Live, View};
use super::super::shader;
use super::registers::activated;
use super::sizes::{Sizes, Uniform};
use crate::device::{BufferId, Kernel, Recorder, Source, Tile};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    sizes: Uniform,
    source_offset: u32,
    source_stride: u32,
    out_offset: u32,
    out_stride: u32,
    pixels: u32,
    columns: u32,
    splits: u32,
    tiles: u32,
    has_bias: u32,
    has_addend: u32,
    a_offset: u32,
    a_stride: u32,
    relu: u32,
    mask: u32,
    m_offset: u32,
    m_stride: u32,
    channels: u32,
    numbers: [f32; 2],
}

shader!("conv2d_tiled", Params);

/// What is done to a sum before it is stored, in this order.
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue {
    /// Added to every pixel.
    pub bias: Option<View>,
    /// Added; of the result's shape.
    pub addend: Option<View>,
    /// Whether max(., 0) is taken.
    pub relu: bool,
    /// Another function that is taken.
    pub activation: Option<Activation>,
    /// The result is zero where this is not live.
    pub mask: Option<(View, Live)>,
}

/// One product of matrices: what is summed, what comes out, and which way through the convolution.
struct Product {
    entry: &'static str,
    source: View,
    weight: View,
    result: View,
    /// Pixels of the result that are computed as one matrix, and how many such matrices there are.
    phase: usize,
    phases: usize,
}

/// Appends the forward pass by tiles, each sum in so many parts.
pub(super) fn forward(
    recorder: &mut Recorder,
    sizes: &Sizes,
    [source, weight, result]: [View; 3],
    epilogue: Epilogue,
    parts: (Tile, u32),
) {
    let product = Product { entry: "forward", source, weight, result, phase: sizes.y.pixels(), phases: 1 };
    record_product(recorder, sizes, &product, epilogue, parts);
}

/// Appends the gradient of the input by tiles, each sum in so many parts.
pub(super) fn grad_input(
    recorder: &mut Recorder,
    sizes: &Sizes,
    [source, weight, result]: [View; 3],
    epilogue: Epilogue,
    parts: (Tile, u32),
) {
    let (phase, phases) = (sizes.pixels_of_phase(), sizes.phases());
    let product = Product { entry: "grad_input", source, weight, result, phase, phases };
    record_product(recorder, sizes, &product, epilogue, parts);
}

fn record_product(
    recorder: &mut Recorder,
    sizes: &Sizes,
    product: &Product,
    epilogue: Epilogue,
    (tile, splits): (Tile, u32),
) {
    let Product { weight, result, .. } = *product;
    let Epilogue { bias, addend, mask, .. } = epilogue;
    let [rows, columns] = tile.size();
    let tiles = product.phase.div_ceil(rows);
    let params = product_params(sizes, product, epilogue, tiles as u32, splits);
    let scratch = partial_sums(recorder, result.vectors(), splits);
    // Kernels name what they may read, so something must be bound there.
    let read = |value: Option<View>| value.unwrap_or(weight).buffer;
    let finish = [(3, read(bias)), (4, read(addend)), (5, read(mask.map(|(value, _)| value)))];
    let sums = [(1, product.source.buffer), (2, weight.buffer), (6, scratch.unwrap_or(result.buffer))];
    // Partial sums are not activated, but the kernel is the same for both.
    let kernel = activated(kernel(product.entry, tile, product.source.shape.groups() as u32), epilogue.activation);
    let workgroups = tiles * (result.shape.groups() * 4).div_ceil(columns) * product.phases * splits as usize;
    recorder.launch_workgroups(kernel, &params, &[&sums[..], &finish].concat(), workgroups, sizes.flops());
    if let Some(scratch) = scratch {
        let bindings = [&[(1, scratch), (6, result.buffer)][..], &finish].concat();
        let flops = result.vectors() * 4 * splits as usize;
        let kernel = activated(Kernel::new(&SHADER, "reduce"), epilogue.activation);
        recorder.launch(kernel, &params, &bindings, result.vectors(), 1, flops);
    }
}

/// The kernel of a tile for sums over taps with so many groups of channels.
fn kernel(entry: &'static str, tile: Tile, groups: u32) -> Kernel {
    let form = tile.form();
    let (lanes, depth, columns) = (form.lanes_x * form.lanes_y, form.summands / 4, form.columns / 4);
    // Only stems have taps with fewer groups than a step has.
    let wraps = if groups >= depth { 1 } else { depth };
    Kernel::new(&SHADER, entry)
        .number("LANES_X", form.lanes_x)
        .number("LANES_Y", form.lanes_y)
        .number("PIXELS", form.rows)
        .number("GROUPS", columns)
        .number("DEPTH", depth)
        .number("SOURCE_LOADS", form.rows * form.lanes_y * depth / lanes)
        .number("WEIGHT_LOADS", 4 * depth * columns * form.lanes_x / lanes)
        .number("WRAPS", wraps)
        .number("AHEAD", u32::from(tile.loads_ahead()))
}

fn product_params(sizes: &Sizes, product: &Product, epilogue: Epilogue, tiles: u32, splits: u32) -> Params {
    let Product { source, result, .. } = *product;
    let Epilogue { bias, addend, relu, activation, mask } = epilogue;
    // A forward pass has an activation, a backward one a mask.
    let (masked, limits) = mask.map_or((0, [0.0; 2]), |(_, live)| live.in_kernels());
    Params {
        sizes: sizes.uniform(),
        source_offset: source.offset,
        source_stride: source.stride,
        out_offset: result.offset,
        out_stride: result.stride,
        pixels: result.shape.pixels() as u32,
        columns: result.shape.groups() as u32,
        splits,
        tiles,
        has_bias: bias.is_some().into(),
        has_addend: addend.is_some().into(),
        a_offset: addend.map_or(0, |addend| addend.offset),
        a_stride: addend.map_or(0, |addend| addend.stride),
        relu: relu.into(),
        mask: masked,
        m_offset: mask.map_or(0, |(value, _)| value.offset),
        m_stride: mask.map_or(0, |(value, _)| value.stride),
        channels: result.shape.c() as u32,
        numbers: activation.map_or(limits, |activation| activation.numbers()),
    }
}

/// A buffer for so many partial sums of each of `vectors` sums, where there are several.
pub(super) fn partial_sums(recorder: &mut Recorder, vectors: usize, splits: u32) -> Option<BufferId> {
    let bytes = (vectors * 16) as u64 * u64::from(splits);
    (splits > 1).then(|| recorder.buffer("partial sums", bytes, Source::Transient))
}

/// Appends `out[row, column] = sum over splits of sums[split, row, column]`, columns being `vec4`s.
pub(super) fn add_up(recorder: &mut Recorder, sums: BufferId, [rows, columns]: [usize; 2], splits: u32, out: BufferId) {
    let params = Params {
        out_stride: columns as u32,
        pixels: rows as u32,
        columns: columns as u32,
        splits,
        ..bytemuck::Zeroable::zeroed()
    };
    // Nothing else is done to the sums, but something must be bound there.
    let bindings = [(1, sums), (3, sums), (4, sums), (5, sums), (6, out)];
    let (kernel, count) = (Kernel::new(&SHADER, "reduce"), rows * columns);
    recorder.launch(kernel, &params, &bindings, count, 1, count * 4 * splits as usize);
}
