//! WGSL sources, and the `#import` of shared fragments.

/// One WGSL file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Base name of the file, which is the operation's.
    pub name: &'static str,
    /// Its text, with `#import` lines.
    pub text: &'static str,
    /// Bytes of the Rust twin of `struct Params`.
    pub params_size: usize,
}

/// Fragments for `#import`.
const SHARED: &[(&str, &str)] = &[
    ("activation", include_str!("../../shaders/shared/activation.wgsl")),
    ("conv2d_registers", include_str!("../../shaders/shared/conv2d_registers.wgsl")),
    ("conv2d_sizes", include_str!("../../shaders/shared/conv2d_sizes.wgsl")),
    ("conv2d_taps", include_str!("../../shaders/shared/conv2d_taps.wgsl")),
    ("corner", include_str!("../../shaders/shared/corner.wgsl")),
    ("linear", include_str!("../../shaders/shared/linear.wgsl")),
    ("not_finite", include_str!("../../shaders/shared/not_finite.wgsl")),
    ("one_minus_exp", include_str!("../../shaders/shared/one_minus_exp.wgsl")),
    ("reduce", include_str!("../../shaders/shared/reduce.wgsl")),
    ("window", include_str!("../../shaders/shared/window.wgsl")),
];

/// The text with every `#import name` line replaced by `shaders/shared/name.wgsl`.
///
/// # Panics
/// When a shader of this library names a fragment that does not exist, which the shader tests exclude.
pub fn expand(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len() + 1024);
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let fragment = SHARED.iter().find(|(shared, _)| *shared == name.trim());
                let (_, fragment) = fragment.unwrap_or_else(|| panic!("no shared fragment named {name}"));
                expanded.push_str(fragment);
            }
            None => expanded.push_str(line),
        }
        expanded.push('\n');
    }
    expanded
}
