//! The convolutions of the three networks: which kernel the table chooses for a large GPU, and what it has to do.
//!
//! `cargo bench --bench layers -- [NETWORK...] [--size 299] [--batch 1] [--units 132]` counts, and needs no GPU.
//! `--time` also runs each layer on this adapter: the table's kernel, and the one without workgroup memory, three times each;
//! that is the first thing to run on a GPU, none of which has been measured yet.
//!
//! Columns: workgroups (of the sums, without those that add up parts), GFLOP, MiB that must move at least once, FLOP per byte,
//! and rounds: workgroups over units, what an adapter with so many multiprocessors has to do one after another.

// What the tests share; this program uses the part that fills networks.
#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::{Arc, Mutex};

use common::gpu::device;
use common::reference::network_with;
use entoptic::autotune::time;
use entoptic::device::{Choices, Recorder, Tiling, Tuning, Variant};
use entoptic::evaluate::PICTURE;
use entoptic::nets::{BatchNormMode, Head, Network};
use entoptic::objective::{Form, Objective, Term};
use entoptic::ops::{Problem, choose};
use entoptic::tape::{Request, Tape};
use entoptic::tensor::Shape;

/// The table, and what it was asked.
#[derive(Debug)]
struct Asked {
    table: Tiling,
    problems: Mutex<Vec<Problem>>,
}

impl Choices for Asked {
    fn variant(&self, entry: &str, sizes: &[u32]) -> Variant {
        let problem = Problem::from_sizes(entry, sizes).expect("a layer of a network");
        self.problems.lock().expect("one thread").push(problem);
        choose(&problem, &self.table)
    }

    fn digest(&self) -> String {
        String::new()
    }
}

fn main() {
    let (mut names, mut size, mut batch, mut units, mut timed) = (Vec::new(), 299, 1, 132, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number follows");
        match argument.as_str() {
            "--size" => size = number(),
            "--batch" => batch = number(),
            "--units" => units = number(),
            "--time" => timed = true,
            name if !name.starts_with('-') => names.push(name.to_owned()),
            _ => {} // what cargo adds
        }
    }
    if names.is_empty() {
        names = ["resnet50", "googlenet", "inception_v3"].map(String::from).to_vec();
    }
    for name in names {
        let network = network_with(&name, &[], &name);
        println!("\n{name}, {size} px, batch {batch}, {units} units, forward and gradient of the picture:\n");
        let times = if timed { " table, ms | registers, ms | table, GFLOP/s |" } else { "" };
        println!("| pass | layers | x | weight | kernel | workgroups | GFLOP | MiB | FLOP/B | rounds |{times}");
        println!("|---|---|---|---|---|---|---|---|---|---|{}", if timed { "---|---|---|" } else { "" });
        let (problems, launches) = problems(&network, Shape::new(batch, 3, size, size), units as u32);
        let mut totals = (0.0, 0);
        for (problem, layers) in &problems {
            let variant = choose(problem, &Tiling::Table { units: units as u32 });
            let (gflop, bytes) = (problem.sizes.flops() as f64 / 1e9, problem.sizes.bytes() as f64);
            let workgroups = problem.workgroups(variant);
            totals = (totals.0 + gflop * *layers as f64, totals.1 + layers);
            let pass = problem.pass.entry().trim_start_matches("conv2d.");
            print!(
                "| {pass} | {layers} | {} | {} | {variant} | {workgroups} | {gflop:.3} | {:.2} | {:.0} | {:.1} |",
                problem.sizes.x,
                problem.sizes.weight,
                bytes / f64::from(1 << 20),
                gflop * 1e9 / bytes,
                workgroups as f64 / units as f64,
            );
            if timed {
                let [table, registers] = [variant, Variant::Registers]
                    .map(|variant| time(device(), problem, variant).expect("runs").as_secs_f64());
                print!(" {:.3} | {:.3} | {:.0} |", table * 1e3, registers * 1e3, gflop / table);
            }
            println!();
        }
        println!(
            "\n{} convolutions, {:.2} GFLOP, {} launches in all, {} of which add up parts",
            totals.1, totals.0, launches[0], launches[1]
        );
    }
}

/// Every convolution of a step, and how many layers have it; launches of the step, and those of them that add up parts of sums.
fn problems(network: &Network, picture: Shape, units: u32) -> (Vec<(Problem, usize)>, [usize; 2]) {
    let mut tape = Tape::default();
    let x = tape.input(PICTURE, picture);
    let outputs = network.forward(&mut tape, x, BatchNormMode::Frozen, &[Head::Main], &[]).expect("fits");
    let objective = Objective { terms: vec![Term::class(0, Head::Main, Form::Lacking(200.0), 1.0)] };
    let loss = objective.record(&mut tape, x, &[outputs]).expect("records").total;
    let asked = Arc::new(Asked { table: Tiling::Table { units }, problems: Mutex::default() });
    let tiling = Tiling::Measured(Arc::clone(&asked) as Arc<dyn Choices>);
    let mut recorder = Recorder::new(Tuning { tiling, ..Tuning::default() });
    let request = Request { keep: vec![loss], loss: Some(loss), wrt: vec![x] };
    tape.record(&mut recorder, &request).expect("records");
    let dispatches = recorder.finish().dispatches;
    let parts = dispatches.iter().filter(|dispatch| dispatch.kernel.entry == "reduce").count();
    let mut counted: Vec<(Problem, usize)> = Vec::new();
    for problem in asked.problems.lock().expect("one thread").drain(..) {
        match counted.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, layers)) => *layers += 1,
            None => counted.push((problem, 1)),
        }
    }
    (counted, [dispatches.len(), parts])
}
