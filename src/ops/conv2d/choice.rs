//! Which kernel computes a convolution: a function of shapes and of the adapter's tuning, without a GPU.
//!
//! The costs are estimates, made from how such kernels behave in general; none has been measured on a GPU.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::sizes::Sizes;
use crate::device::{Choices, Tile, Tiling, Variant};
use crate::digest::sha256;

/// What a convolution computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    /// The result.
    Forward,
    /// The gradient with respect to the picture.
    GradInput,
    /// The gradient with respect to the weights.
    GradWeight,
}

impl Pass {
    /// All.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::GradInput, Pass::GradWeight];

    /// Shader and entry point of the kernel that uses no workgroup memory.
    pub fn entry(self) -> &'static str {
        match self {
            Pass::Forward => "conv2d.forward",
            Pass::GradInput => "conv2d.grad_input",
            Pass::GradWeight => "conv2d.grad_weight",
        }
    }
}

/// One pass of a convolution of one shape: all that the choice of a kernel depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// What is computed.
    pub pass: Pass,
    /// Of what.
    pub sizes: Sizes,
}

/// A problem as a product of matrices, several of them side by side.
struct Product {
    rows: usize,
    columns: usize,
    /// Summands of an element.
    depth: usize,
    /// Products of this size: one for each phase of a strided gradient.
    products: usize,
    /// The part of the summands that there are, of all products: some phases see fewer taps than others, or none.
    filled: f64,
}

/// Partial sums may take so much memory: half of what WebGPU lets a kernel see of a buffer.
const SCRATCH: usize = 64 << 20;

/// Products that one run adds up before another begins: more cost digits.
const LONGEST_RUN: usize = 4096;

impl Problem {
    /// The problem of this kernel and these [`Sizes::numbers`], if there is one.
    pub fn from_sizes(entry: &str, numbers: &[u32]) -> Option<Problem> {
        let pass = Pass::ALL.into_iter().find(|pass| pass.entry() == entry)?;
        Some(Problem { pass, sizes: Sizes::from_numbers(numbers)? })
    }

    /// A small problem of the same kind, with more columns than the widest tile has, and rows for several tiles.
    pub fn small(&self) -> Problem {
        let channels = if self.pass == Pass::GradInput { [12, 132] } else { [132, 12] };
        Problem { sizes: self.sizes.small(channels), ..*self }
    }

    fn product(&self) -> Product {
        let sizes = &self.sizes;
        let [c_in, c_out] = [sizes.x.groups() * 4, sizes.y.groups() * 4];
        match self.pass {
            Pass::Forward => {
                Product { rows: sizes.y.pixels(), columns: c_out, depth: sizes.taps() * c_in, products: 1, filled: 1.0 }
            }
            Pass::GradInput => {
                let rows = sizes.pixels_of_phase();
                let depth = sizes.taps_of_phase() * c_out;
                // Each tap is seen from the pixels of one phase.
                let filled = sizes.taps() as f64 / (sizes.taps_of_phase() * sizes.phases()) as f64;
                Product { rows, columns: c_in, depth, products: sizes.phases(), filled }
            }
            Pass::GradWeight => {
                Product { rows: sizes.taps() * c_in, columns: c_out, depth: sizes.y.pixels(), products: 1, filled: 1.0 }
            }
        }
    }

    /// Workgroups of a variant, without those that add up partial sums.
    pub fn workgroups(&self, variant: Variant) -> usize {
        let product = self.product();
        match variant {
            Variant::Registers => (product.rows.div_ceil(8) * product.columns / 4).div_ceil(64) * product.products,
            Variant::Tiled(tile, splits) => {
                let [rows, columns] = tile.size();
                let tiles = product.rows.div_ceil(rows) * product.columns.div_ceil(columns);
                tiles * product.products * splits as usize
            }
        }
    }

    /// Bytes of partial sums.
    pub fn scratch(&self, splits: u32) -> usize {
        let Sizes { x, y, .. } = self.sizes;
        let result = match self.pass {
            Pass::Forward => y.pixels() * y.groups(),
            Pass::GradInput => x.pixels() * x.groups(),
            Pass::GradWeight => self.sizes.taps() * x.groups() * 4 * y.groups(),
        };
        if splits > 1 { result * 16 * splits as usize } else { 0 }
    }

    /// All variants worth a try on an adapter with so many units, those first that should be fastest.
    pub fn candidates(&self, units: u32) -> Vec<Variant> {
        let mut all: Vec<Variant> = Vec::new();
        // One invocation would add up all pixels of a batch: too slow, and too inexact.
        if self.pass != Pass::GradWeight {
            all.push(Variant::Registers);
        }
        let depth = self.product().depth;
        let least = if self.pass == Pass::GradWeight { depth.div_ceil(LONGEST_RUN).next_power_of_two() } else { 1 };
        for tile in Tile::ALL {
            // Four steps at least in each part; the least number of parts even beyond that.
            let most = depth / (4 * tile.form().summands as usize);
            let splits = (0..9).map(|power| 1 << power).filter(|&splits| {
                let fits = self.scratch(splits) <= SCRATCH;
                let splits = splits as usize;
                splits == least.min(256) || (splits > least && splits <= most && fits)
            });
            all.extend(splits.map(|splits| Variant::Tiled(tile, splits)));
        }
        all.sort_by(|&a, &b| self.cost(a, units).total_cmp(&self.cost(b, units)));
        all
    }

    /// About how many cycles of a GPU a variant takes.
    fn cost(&self, variant: Variant, units: u32) -> f64 {
        let (product, kernel, units) = (self.product(), Speed::of(variant, self.pass), f64::from(units));
        let splits = if let Variant::Tiled(_, splits) = variant { splits } else { 1 };
        let steps = product.depth.div_ceil(splits as usize).div_ceil(kernel.summands) as f64 * product.filled;
        let busy = kernel.work / (LANES * kernel.share);
        // The unit that has most to do is done last. One that is busy takes turns between its workgroups; a workgroup alone waits
        // for its loads, and uses no more lanes than it has.
        let most = (self.workgroups(variant) as f64 / units).ceil();
        let busy_throughout = most * (steps * busy + kernel.once * kernel.lanes / LANES);
        let alone = busy * (LANES / kernel.lanes).max(1.0) + kernel.wait;
        let one_by_one = (most / kernel.resident).ceil() * (steps * alone + kernel.once + LATENCY);
        let reduce = if splits > 1 { LAUNCH + self.scratch(splits) as f64 * 2.0 / (BYTES * units) } else { 0.0 };
        busy_throughout.max(one_by_one) + reduce
    }
}

/// What is expected of a kernel. Of the tiles it is what their instructions say, `benches/results/isa-*.md`, with some loss.
struct Speed {
    /// Multiplications of a workgroup in a step.
    work: f64,
    /// Summands in a step.
    summands: usize,
    /// The share of its lanes that a busy unit uses.
    share: f64,
    /// Workgroups at once on a unit.
    resident: f64,
    /// Invocations of a workgroup.
    lanes: f64,
    /// Instructions of an invocation before the first step and behind the last.
    once: f64,
    /// Cycles of a step in which a workgroup alone waits for what it loads.
    wait: f64,
}

impl Speed {
    fn of(variant: Variant, pass: Pass) -> Speed {
        let Variant::Tiled(tile, _) = variant else {
            let work = f64::from(64 * 32 * 4);
            // The share has its waiting in it: an invocation loads for the next sums while it adds these up.
            return Speed { work, summands: 4, share: 0.15, resident: 8.0, lanes: 64.0, once: 600.0, wait: 100.0 };
        };
        let ([rows, columns], form) = (tile.size(), tile.form());
        let (share, resident, once) = match tile {
            Tile::T32x32 => (0.65, 7.0, 500.0),
            Tile::T64x64 => (0.8, 8.0, 900.0),
            Tile::T128x64 => (0.82, 4.0, 900.0),
            Tile::T128x128 => (0.82, 4.0, 1300.0),
        };
        let summands = form.summands as usize;
        Speed {
            work: (rows * columns * summands) as f64,
            summands,
            share,
            resident,
            lanes: f64::from(form.lanes_x * form.lanes_y),
            once,
            wait: if pass != Pass::GradWeight && tile.loads_ahead() { 100.0 } else { LATENCY },
        }
    }
}

/// Multiplications with an addition that a unit finishes in a cycle.
const LANES: f64 = 128.0;

/// Cycles from a load to its value.
const LATENCY: f64 = 600.0;

/// Cycles from one launch to the next that depends on it.
const LAUNCH: f64 = 5000.0;

/// Bytes of memory for a unit in a cycle.
const BYTES: f64 = 20.0;

/// The kernel files that compute a convolution, by how its channels are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Every output channel sees every input channel.
    Dense,
    /// Each channel sees itself alone.
    Depthwise,
    /// Channels in groups.
    Grouped {
        /// Whether groups begin and end with vectors of four channels, in the input and in the result.
        aligned: bool,
    },
}

/// The family for these sizes. The others have no variants by tiles: their sums are too short to be worth it.
pub(super) fn family(sizes: &Sizes) -> Family {
    let groups = sizes.window.groups;
    let [c_in, c_out] = [sizes.x.c() / groups, sizes.y.c() / groups];
    match (groups, c_in, c_out) {
        (1, ..) => Family::Dense,
        (_, 1, 1) => Family::Depthwise,
        _ => Family::Grouped { aligned: c_in.is_multiple_of(4) && c_out.is_multiple_of(4) },
    }
}

/// The kernel for a problem.
pub fn choose(problem: &Problem, tiling: &Tiling) -> Variant {
    match tiling {
        Tiling::Always(variant) => *variant,
        Tiling::Table { units } => problem.candidates(*units)[0],
        Tiling::Measured(choices) => choices.variant(problem.pass.entry(), &problem.sizes.numbers()),
    }
}

/// The kernels that a picture alone would get, whatever the size of its batch, under a name of their own: sums of other kernels
/// are rounded otherwise, and a picture is not to depend on what else is made with it.
pub fn alone(tiling: &Tiling) -> Tiling {
    match tiling {
        Tiling::Always(_) => tiling.clone(),
        _ => Tiling::Measured(Arc::new(Alone { tiling: tiling.clone(), chosen: Mutex::default() })),
    }
}

#[derive(Debug)]
struct Alone {
    tiling: Tiling,
    chosen: Mutex<BTreeMap<String, Variant>>,
}

impl Choices for Alone {
    fn variant(&self, entry: &str, sizes: &[u32]) -> Variant {
        let problem = Problem::from_sizes(entry, sizes).expect("a layer that is recorded has been checked");
        let problem = Problem { sizes: problem.sizes.with_pictures(1), ..problem };
        let variant = choose(&problem, &self.tiling);
        let mut chosen = self.chosen.lock().expect("no panic happens while the lock is held");
        chosen.insert(format!("{entry} {:?}", problem.sizes.numbers()), variant);
        variant
    }

    fn digest(&self) -> String {
        let how = match &self.tiling {
            Tiling::Measured(_) => "measured".to_owned(),
            other => other.to_string(),
        };
        let chosen = self.chosen.lock().expect("no panic happens while the lock is held");
        let lines: String = chosen.iter().map(|(problem, variant)| format!("{problem} {variant}\n")).collect();
        format!("{how}, for a picture alone {}", &sha256(lines)[..12])
    }
}

#[cfg(test)]
mod tests {
    use super::super::sizes::Window;
    use super::*;
    use crate::tensor::Shape;

    const GPU: Tiling = Tiling::Table { units: 132 };

    fn problem(pass: Pass, sizes: [u32; 11]) -> Problem {
        Problem::from_sizes(pass.entry(), &sizes).expect("a layer")
    }

    #[test]
    fn names_and_numbers_make_the_problem_again() {
        let sizes = [2, 75, 60, 64, 128, 3, 1, 2, 1, 1, 0];
        for pass in Pass::ALL {
            let problem = problem(pass, sizes);
            assert_eq!((problem.pass, problem.sizes.numbers()), (pass, sizes.to_vec()));
        }
        assert_eq!(Problem::from_sizes("relu.forward", &sizes), None);
    }

    #[test]
    fn large_layers_get_large_tiles_and_small_ones_split_their_sums() {
        let chosen = |pass, sizes| choose(&problem(pass, sizes), &GPU);
        // 128 pixels x 64 channels and more, sums in one part.
        let large = chosen(Pass::Forward, [32, 75, 75, 128, 128, 3, 3, 1, 1, 1, 1]);
        assert!(matches!(large, Variant::Tiled(Tile::T128x64 | Tile::T128x128, 1)), "{large}");
        // 100 pixels x 512 channels are 16 tiles of 64x64 for 132 units.
        for pass in [Pass::Forward, Pass::GradInput] {
            let small = chosen(pass, [1, 10, 10, 512, 512, 3, 3, 1, 1, 1, 1]);
            assert!(matches!(small, Variant::Tiled(_, 4..)), "{pass:?}: {small}");
        }
        // The picture has one group of channels, of which a tile would fill an eighth.
        assert_eq!(chosen(Pass::GradInput, [1, 299, 299, 3, 64, 7, 7, 2, 2, 3, 3]), Variant::Registers);
    }

    #[test]
    fn short_sums_are_not_split_for_what_a_workgroup_does_once_besides() {
        for units in [16, 60, 132] {
            let chosen = |pass, sizes| choose(&problem(pass, sizes), &Tiling::Table { units });
            let short = chosen(Pass::Forward, [1, 75, 75, 64, 256, 1, 1, 1, 1, 0, 0]);
            assert!(matches!(short, Variant::Tiled(_, 1)), "{units} units: {short}");
            // Three of four phases see no tap, so that parts of their sums would be launched for nothing.
            let strided = chosen(Pass::GradInput, [1, 75, 75, 256, 512, 1, 1, 2, 2, 0, 0]);
            assert!(matches!(strided, Variant::Tiled(_, 1)), "{units} units: {strided}");
        }
    }

    #[test]
    fn a_card_with_fewer_processors_gets_fewer_and_larger_workgroups() {
        let layer = problem(Pass::Forward, [1, 19, 19, 256, 256, 3, 3, 1, 1, 1, 1]);
        let of = |units| layer.workgroups(choose(&layer, &Tiling::Table { units }));
        assert!(of(16) <= of(60) && of(60) <= of(132) && of(16) < of(132), "{} {} {}", of(16), of(60), of(132));
    }

    #[test]
    fn gradients_of_weights_never_run_over_more_than_4096_pixels() {
        let stem = problem(Pass::GradWeight, [32, 299, 299, 3, 64, 7, 7, 2, 2, 3, 3]);
        for variant in stem.candidates(132) {
            let Variant::Tiled(_, splits) = variant else { panic!("{variant}") };
            assert!(stem.sizes.y.pixels() <= LONGEST_RUN * splits as usize, "{variant}");
        }
    }

    #[test]
    fn partial_sums_keep_to_their_memory() {
        for pass in Pass::ALL {
            let layer = problem(pass, [32, 75, 75, 256, 512, 1, 1, 1, 1, 0, 0]);
            for variant in layer.candidates(132) {
                let Variant::Tiled(_, splits) = variant else { continue };
                assert!(layer.scratch(splits) <= SCRATCH, "{pass:?} {variant}");
            }
        }
    }

    #[test]
    fn workgroups_cover_the_result() {
        let layer = problem(Pass::Forward, [1, 10, 10, 64, 96, 1, 1, 1, 1, 0, 0]);
        assert_eq!(layer.workgroups(Variant::Tiled(Tile::T64x64, 3)), 2 * 2 * 3);
        let strided = problem(Pass::GradInput, [1, 9, 10, 33, 64, 3, 3, 2, 2, 1, 1]);
        assert_eq!(
            strided.workgroups(Variant::Tiled(Tile::T32x32, 1)),
            2 * 4,
            "36 channels, 25 pixels a phase, 4 phases"
        );
    }

    #[test]
    fn groups_have_kernels_of_their_own() {
        let of = |c_in: usize, c_out: usize, groups: usize| {
            let (x, weight) = (Shape::new(1, c_in, 9, 9), Shape::new(c_out, c_in / groups, 3, 3));
            family(&Sizes::of(x, weight, Window { groups, ..Window::plain([1; 2], [1; 2]) }).expect("a layer"))
        };
        assert_eq!(of(6, 9, 1), Family::Dense);
        assert_eq!(of(1, 1, 1), Family::Dense);
        assert_eq!(of(7, 7, 7), Family::Depthwise);
        assert_eq!(of(7, 14, 7), Family::Grouped { aligned: false });
        assert_eq!(of(128, 128, 32), Family::Grouped { aligned: true });
        assert_eq!(of(24, 24, 3), Family::Grouped { aligned: true });
        assert_eq!(of(24, 18, 3), Family::Grouped { aligned: false });
        assert_eq!(of(6, 24, 3), Family::Grouped { aligned: false });
    }

    #[test]
    fn a_picture_alone_is_no_different_in_a_batch() {
        let conv = |n: usize| {
            let sizes = Sizes::of(Shape::new(n, 64, 14, 14), Shape::new(64, 64, 3, 3), Window::plain([1; 2], [1; 2]));
            Problem { pass: Pass::Forward, sizes: sizes.expect("a layer") }
        };
        assert_ne!(choose(&conv(1), &GPU), choose(&conv(64), &GPU), "or the test shows nothing");
        let [one, many] = [1, 64].map(|n| {
            let tiling = alone(&GPU);
            (choose(&conv(n), &tiling), tiling.to_string())
        });
        assert_eq!(one, many);
        assert_eq!(one.0, choose(&conv(1), &GPU));
        let untouched = alone(&GPU).to_string();
        assert!(untouched != one.1 && one.1.starts_with("table for 132 units, for a picture alone "), "{one:?}");
        assert_eq!(alone(&Tiling::Always(Variant::Registers)).to_string(), "registers");
    }
}
