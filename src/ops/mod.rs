//! Operations: shapes checked, kernels chosen, dispatches appended to a recording. One file per `.wgsl`, same base name.
//!
//! Not here: the tape, layer names, weights. Gradients are written, never added to: only the tape adds.

mod pass;

mod accumulate;
mod activation;
mod adam;
mod adaptive_avg_pool2d;
mod add;
mod advance;
mod avg_pool2d;
mod batch_norm;
mod batch_norm_train;
mod binary;
mod brighten;
mod channel_affine;
mod channels;
mod check_finite;
mod concat;
mod conv2d;
mod crop;
mod cross_entropy;
mod descend;
mod distance;
mod fold;
mod gaussian_blur;
mod irfft2;
mod layer_norm;
mod local_response_norm;
mod max_pool2d;
mod minimum;
mod pad;
mod paste;
mod peak;
mod pick;
mod project;
mod region_sum;
mod relu;
mod resize;
mod sgd;
mod softmax;
mod statistics_distance;
mod total_variation;
mod warp;

pub use accumulate::Accumulate;
pub use adam::Adam;
pub use advance::Advance;
pub use brighten::Brighten;
pub use check_finite::CheckFinite;
pub use concat::ConcatFilters;
pub use conv2d::{Pass, Problem, Sizes, Window, alone, choose};
pub use descend::{Descend, Rule};
pub use distance::Metric;
pub use fold::{FoldBias, FoldWeight};
pub use pass::{Backward, Domain, Finish, Forward, Live, Op, Sample, View};
pub use paste::Paste;
pub use peak::Peak;
pub use project::Project;
pub use resize::ResizeMode;
pub use sgd::Sgd;

use crate::device::Shader;

/// Registers each kernel file: its text, the size of its `Params`, its type and its samples for tests and benches.
macro_rules! ops {
    ($dollar:tt $($module:ident :: $op:ident),* $(,)?) => {
        $(pub use $module::$op;)*

        /// Hands the types of all operations with a gradient to another macro, for a room that must have something for each.
        macro_rules! each_op {
            ($dollar then:ident) => { $dollar then! { $($op),* } };
        }
        pub(crate) use each_op;

        /// Every operation with a gradient in a few configurations, edge cases among them.
        pub fn samples() -> Vec<Sample> {
            let mut all = Vec::new();
            $(all.extend($module::samples());)*
            all
        }

        /// Kernel files of the operations with a gradient.
        const DIFFERENTIABLE: &[&Shader] = &[$(&$module::SHADER),*];
    };
}

/// The text and parameter size of the kernel file that belongs to a module.
macro_rules! shader {
    ($name:literal, $params:ty) => {
        pub(in crate::ops) static SHADER: crate::device::Shader = crate::device::Shader {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")),
            params_size: size_of::<$params>(),
        };
    };
}
use shader;

ops! { $
    activation::Activation,
    adaptive_avg_pool2d::AdaptiveAvgPool2d,
    add::Add,
    avg_pool2d::AvgPool2d,
    batch_norm::BatchNorm,
    batch_norm_train::BatchNormTrain,
    binary::Binary,
    channel_affine::ChannelAffine,
    channels::Channels,
    concat::Concat,
    conv2d::Conv2d,
    crop::Crop,
    cross_entropy::CrossEntropy,
    distance::Distance,
    gaussian_blur::GaussianBlur,
    irfft2::Irfft2,
    layer_norm::LayerNorm,
    local_response_norm::LocalResponseNorm,
    max_pool2d::MaxPool2d,
    minimum::Minimum,
    pad::Pad,
    pick::Pick,
    region_sum::RegionSum,
    relu::Relu,
    resize::Resize,
    softmax::Softmax,
    statistics_distance::StatisticsDistance,
    total_variation::TotalVariation,
    warp::Warp,
}

/// Kernel files that only update in place of a graph.
const UPDATES: &[&Shader] = &[
    &accumulate::SHADER,
    &adam::SHADER,
    &advance::SHADER,
    &brighten::SHADER,
    &check_finite::SHADER,
    &descend::SHADER,
    &fold::SHADER,
    &paste::SHADER,
    &peak::SHADER,
    &project::SHADER,
    &sgd::SHADER,
];

/// Every kernel file.
pub fn shaders() -> impl Iterator<Item = &'static Shader> {
    DIFFERENTIABLE.iter().chain(UPDATES).chain(conv2d::VARIANTS).copied()
}
