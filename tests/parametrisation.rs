//! Pictures made of other numbers than their pixels: spectra against numpy's, gradients through the whole, and runs that change their
//! size, stop and go on.

mod common;

use std::ops::ControlFlow;

use common::compare::{Bound, assert_close};
use common::desk::Desk;
use common::fixture::json;
use common::generator::Generator;
use common::gpu::{device, run};
use common::jobs::job;
use common::reference::demo_network;
use common::tapes;
use entoptic::Error;
use entoptic::device::Externals;
use entoptic::ops::{Binary, Irfft2};
use entoptic::synthesis::parametrisation::{Basis, Colour, Parametrisation, Range};
use entoptic::synthesis::recipe::{Init, Recipe, Start};
use entoptic::synthesis::stage::{Stage, StepRule};
use entoptic::synthesis::{self, Event, Finished, Job};
use entoptic::tape::{Request, Tape, passes};
use entoptic::tensor::{Array, Layout, Shape};

const SEED: Generator = Generator { seed: 1 };

/// Every choice of basis, colours and range but the plain one.
fn all() -> Vec<Parametrisation> {
    let mut all = Vec::new();
    for basis in [Basis::Pixels, Basis::Fourier] {
        for colour in [Colour::Rgb, Colour::Decorrelated] {
            for range in [Range::Free, Range::Clamp, Range::Sigmoid] {
                let decay = (basis == Basis::Fourier).then_some(1.5);
                all.push(Parametrisation { basis, decay, colour, range });
            }
        }
    }
    assert!(all.remove(0).is_plain());
    all
}

/// Waves of decorrelated colours within bounds.
const WAVES: Parametrisation =
    Parametrisation { basis: Basis::Fourier, decay: Some(1.5), colour: Colour::Decorrelated, range: Range::Sigmoid };

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

#[test]
fn spectra_of_every_size_make_the_pictures_that_numpy_makes_and_gradients_are_their_adjoints() {
    let fixture = json("spectra.json");
    let cases = fixture["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 304);
    for case in cases {
        let whole = |k: usize| case[k].as_u64().expect("a count") as usize;
        let (h, w, decay) = (whole(0), whole(1), case[2].as_f64().expect("a number"));
        let label = format!("{h} x {w}, decay {decay}");
        let expected = case[3].as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number"));
        let expected: Vec<f32> = expected.map(|number| number as f32).collect();
        let picture = Shape::new(1, 1, h, w);
        let spectrum = Irfft2::spectrum_shape(picture);
        let numbers = SEED.tensor_symmetric(&format!("irfft2 {h} {w}"), spectrum.elements(), 1.0);
        let upstream = Array::new(picture, SEED.tensor_symmetric(&label, picture.elements(), 1.0));
        let input = [(Array::new(spectrum, numbers.clone()), Layout::Picture)];
        let outcome = run(&Irfft2 { width: w, decay }, &input, Some(&upstream), &[true]);
        let y = &outcome.output.values;
        // Roundings of a transform grow with the logarithm of its length, in relation to the whole picture.
        let length = f64::from(expected[4]);
        let places = [0, h * w / 3, 2 * h * w / 3, h * w - 1];
        let allowed = 4e-7 * length.max(norm(&numbers) / ((h * w) as f64).sqrt());
        for (place, expected) in places.into_iter().zip(&expected) {
            let off = f64::from(y[place] - expected).abs();
            assert!(
                off <= allowed,
                "{label}: pixel {place} is {}, not {expected}: {:.2} of the bound",
                y[place],
                off / allowed
            );
        }
        assert!((norm(y) - length).abs() <= 4e-7 * length, "{label}: length {} instead of {length}", norm(y));
        let gradient = &outcome.grads[0].as_ref().expect("it was asked for").values;
        let (forwards, backwards) = (dot(y, &upstream.values), dot(&numbers, gradient));
        let bound = 1e-6 * norm(y) * norm(&upstream.values);
        assert!((forwards - backwards).abs() <= bound, "{label}: {forwards} and {backwards}");
    }
}

#[test]
fn gradients_through_the_whole_are_the_slopes_of_its_pictures() {
    for parametrisation in all() {
        let label = format!("{parametrisation:?}");
        let pictures = Shape::new(2, 3, 9, 10);
        let shape = parametrisation.parameters(pictures);
        let mut tape = Tape::default();
        let x = tape.input("numbers", shape);
        let picture = parametrisation.record(&mut tape, x, pictures.w()).expect("it fits");
        assert_eq!(tape.shape(picture), pictures);
        let weights = tape.constant(&Array::new(pictures, SEED.tensor_symmetric(&label, pictures.elements(), 1.0)));
        let loss = tape.apply(Binary::Times, &[picture, weights]).expect("it fits");
        let request = Request { keep: vec![loss], loss: Some(loss), wrt: vec![x] };
        let evaluated = |numbers: &[f32]| {
            let array = Array::new(shape, numbers.to_vec());
            let buffer = device().upload("numbers", Layout::Picture, &array).expect("room");
            let externals = Externals::from([("numbers".to_owned(), buffer)]);
            let (found, _) = tapes::run(passes::ALL, &tape, &request, &externals);
            let sum: f64 = found[0].values.iter().map(|&value| f64::from(value)).sum();
            (sum, found[1].values.clone())
        };
        // Of pictures around the middle of the range, whose pixels do not cross its ends.
        let middle = parametrisation.encode(&Array::filled(pictures, 0.5)).values;
        let spread = if parametrisation.basis == Basis::Fourier { 0.02 } else { 0.1 };
        let uneven = SEED.tensor_symmetric("uneven", shape.elements(), spread);
        let point: Vec<f32> = middle.iter().zip(&uneven).map(|(a, b)| a + b).collect();
        let direction = SEED.tensor_symmetric("direction", shape.elements(), 1.0);
        let step = 0.1 * spread as f32;
        let at = |sign: f32| point.iter().zip(&direction).map(|(p, d)| p + sign * step * d).collect::<Vec<_>>();
        let ((high, _), (low, _), (_, gradient)) = (evaluated(&at(1.0)), evaluated(&at(-1.0)), evaluated(&point));
        let slope = (high - low) / (2.0 * f64::from(step));
        let bound = 2e-3 * norm(&gradient) * norm(&direction);
        assert!((slope - dot(&gradient, &direction)).abs() < bound, "{label}: {slope} {}", dot(&gradient, &direction));
        assert!(norm(&gradient) > 0.0, "{label}");
    }
}

fn stage(iterations: u32, rate: f64) -> Stage {
    Stage { step: StepRule::Adam, ..Stage::new(iterations, [rate, rate]) }
}

fn recipe(parametrisation: Parametrisation, size: u32, stages: Vec<Stage>) -> Recipe {
    let init = Init { size, start: Start::Spectral { mean: 0.5, std: 0.1, decay: 1.0 } };
    Recipe { init, parametrisation, stages, ..Recipe::named("demo").expect("a shipped recipe") }
}

fn finished(job: &Job) -> Finished {
    synthesis::run(device(), job, &mut |_| ControlFlow::Continue(())).expect("runs")
}

/// A smooth picture within 0.2 and 0.8, of another pattern in each channel; whole waves, so that it ends as it begins.
fn smooth(side: usize) -> Array {
    let shape = Shape::new(1, 3, side, side);
    let value = |k: usize| {
        let (c, y, x) = (k / (side * side), k / side % side, k % side);
        let turn = |waves: usize, at: usize| (std::f64::consts::TAU * (waves * at) as f64 / side as f64).sin();
        (0.5 + 0.2 * turn(1 + c, x) + 0.1 * turn(2, y + 2 * x + c)) as f32
    };
    Array::new(shape, (0..shape.elements()).map(value).collect())
}

#[test]
fn a_picture_given_comes_out_as_it_went_in_when_nothing_is_changed() {
    let network = demo_network(device(), "resnet50", "0");
    let picture = smooth(35);
    for parametrisation in all() {
        let mut job = job(&network, recipe(parametrisation, 35, vec![stage(1, 0.0)]), &[3]);
        job.start = Some(picture.clone());
        let made = finished(&job).pictures;
        assert_close(&format!("{parametrisation:?}"), &made.values, &picture.values, Bound::abs(2e-6));
    }
}

#[test]
fn a_larger_size_has_the_same_waves_without_a_seam() {
    let network = demo_network(device(), "resnet50", "0");
    let picture = smooth(33);
    for parametrisation in all().into_iter().filter(|parametrisation| !parametrisation.is_of_pixels()) {
        let larger = Stage { size: Some(66), ..stage(1, 0.0) };
        let mut job = job(&network, recipe(parametrisation, 33, vec![stage(1, 0.0), larger]), &[3]);
        job.start = Some(picture.clone());
        let mut frames = Vec::new();
        job.frame_every = Some(1);
        let mut observer = |event: Event| {
            if let Event::Frame(picture) = event {
                frames.push(picture.shape);
            }
            ControlFlow::Continue(())
        };
        let made = synthesis::run(device(), &job, &mut observer).expect("runs").pictures;
        assert_eq!(frames, [Shape::new(1, 3, 33, 33), Shape::new(1, 3, 66, 66)], "films show pictures");
        let seen: Vec<f32> =
            made.values.chunks_exact(66).step_by(2).flat_map(|row| row.iter().step_by(2).copied()).collect();
        assert_close(&format!("{parametrisation:?}"), &seen, &picture.values, Bound::abs(4e-6));
        // What lies between is smooth as well, where a sigmoid has not bent the waves: the same pattern at that size.
        if parametrisation.range == Range::Free {
            assert_close("between", &made.values, &smooth_between(66).values, Bound::abs(4e-6));
        }
    }
}

/// The pattern of `smooth(side / 2)` at twice the size.
fn smooth_between(side: usize) -> Array {
    let shape = Shape::new(1, 3, side, side);
    let value = |k: usize| {
        let (c, y, x) = (k / (side * side), (k / side % side) as f64, (k % side) as f64);
        let turn = |waves: f64, at: f64| (std::f64::consts::TAU * waves * at / side as f64).sin();
        (0.5 + 0.2 * turn(1.0 + c as f64, x) + 0.1 * turn(2.0, y + 2.0 * x + 2.0 * c as f64)) as f32
    };
    Array::new(shape, (0..shape.elements()).map(value).collect())
}

#[test]
fn every_parametrisation_lowers_the_loss_within_its_range() {
    let network = demo_network(device(), "resnet50", "0");
    for parametrisation in all() {
        let made = finished(&job(&network, recipe(parametrisation, 33, vec![stage(6, 0.02)]), &[3]));
        assert!(
            made.loss[0] < made.first_loss[0] - 0.05,
            "{parametrisation:?}: {} {}",
            made.first_loss[0],
            made.loss[0]
        );
        let inside = made.pictures.values.iter().all(|value| (0.0..=1.0).contains(value));
        assert!(inside || parametrisation.range == Range::Free, "{parametrisation:?}");
        assert!(made.parameters.is_none() && made.memory.is_empty(), "only what was stopped needs them");
    }
}

/// Two sizes, a window, transforms, every step rule.
fn busy() -> Recipe {
    let first = Stage { shift: 2, flip: true, ..stage(3, 0.02) };
    let second = Stage { size: Some(44), crop: Some(36), step: StepRule::Normalized, ..Stage::new(2, [0.01, 0.005]) };
    let third = Stage { step: StepRule::Adam, ..Stage::new(2, [0.02, 0.01]) };
    recipe(WAVES, 33, vec![first, second, third])
}

fn bits(array: &Array) -> Vec<u32> {
    array.values.iter().map(|value| value.to_bits()).collect()
}

/// Ends a run, begun or not, after a step.
fn until(job: &Job, from: Option<&Finished>, step: usize) -> Finished {
    let mut observer = |event: Event| match event {
        Event::Progress(progress) if progress.step == step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let ended = match from {
        Some(from) => synthesis::resume(device(), job, from, &mut observer),
        None => synthesis::run(device(), job, &mut observer),
    };
    ended.expect("runs")
}

#[test]
fn a_run_that_optimises_waves_stops_anywhere_and_ends_in_the_same_bits() {
    let network = demo_network(device(), "resnet50", "0");
    let job = job(&network, busy(), &[8, 3]);
    let whole = until(&job, None, usize::MAX);
    for step in 1..=7 {
        let stopped = until(&job, None, step);
        assert!(step == 7 || stopped.parameters.is_some());
        let again = until(&job, Some(&stopped), usize::MAX);
        assert_eq!(bits(&again.pictures), bits(&whole.pictures), "stopped after step {step}");
        assert_eq!((&again.loss, &again.measured), (&whole.loss, &whole.measured), "stopped after step {step}");
    }
    let stopped = until(&job, None, 2);
    let lost = Finished { parameters: None, ..stopped.clone() };
    let error = synthesis::resume(device(), &job, &lost, &mut |_| ControlFlow::Continue(())).expect_err("refused");
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let wrong = Finished { parameters: Some(stopped.pictures.clone()), ..stopped };
    let error = synthesis::resume(device(), &job, &wrong, &mut |_| ControlFlow::Continue(())).expect_err("refused");
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn a_picture_of_waves_alone_is_that_of_a_batch() {
    let network = demo_network(device(), "resnet50", "0");
    let together = finished(&job(&network, busy(), &[8, 3, 5]));
    let alone = finished(&job(&network, busy(), &[3]));
    assert_eq!(bits(&together.pictures.picture(1)), bits(&alone.pictures));
}

/// What stands in a recipe beside a parametrisation, and what is said of it.
#[test]
fn keys_that_change_pixels_are_refused_where_others_are_optimised() {
    let text = |parametrisation: &str, stage: &str| {
        format!(
            "name = \"waves\"\ndescription = \"\"\nnormalize = \"imagenet\"\n[init]\nkind = \"spectral\"\nsize = 64\n\
             mean = 0.5\nstd = 0.1\n[parametrisation]\n{parametrisation}\n[[stage]]\niterations = 2\nrate = [1, 1]\n{stage}\n"
        )
    };
    let refused = |parametrisation: &str, stage: &str| {
        Recipe::parse("waves", &text(parametrisation, stage)).expect_err("refused").to_string()
    };
    let waves = "basis = \"fourier\"\nrange = \"sigmoid\"";
    let recipe = Recipe::parse("waves", &text(waves, "")).expect("a good recipe");
    assert_eq!(recipe.init.start, Start::Spectral { mean: 0.5, std: 0.1, decay: 1.0 });
    assert_eq!(Recipe::parse("again", &recipe.to_toml()).expect("good again"), recipe);
    let error = refused(waves, "clamp = [0.0, 1.0]");
    assert_eq!(
        error,
        "recipe waves: line 15, stage 1: clamp: cannot stand beside parametrisation, whose range bounds pixels"
    );
    for stage in [
        "pad = { width = 1, value = 0.5 }",
        "colour_jitter = 0.1",
        "nearest_sizes = { sizes = [60], until = 1.0 }",
        "sigma = [1.0, 0.5]",
    ] {
        let key = stage.split(' ').next().expect("a key");
        let expected = format!(
            "recipe waves: line 15, stage 1: {key}: changes pixels, and with this parametrisation others are optimised"
        );
        assert_eq!(refused(waves, stage), expected);
    }
    // Of pixels in other colours a blur is one of colours.
    Recipe::parse("waves", &text("colour = \"decorrelated\"", "sigma = [1.0, 0.5]")).expect("a good recipe");
    assert!(refused("decay = 1.0", "").contains("parametrisation.decay: needs basis = \"fourier\""));
    let steep = refused("basis = \"fourier\"\ndecay = 9.0", "");
    assert!(steep.contains("line 11, parametrisation.decay: is 9, allowed are -4 to 4"), "{steep}");
    assert!(refused("base = \"fourier\"", "").contains("line 10, parametrisation.base: unknown field `base`"));
}

#[test]
fn pictures_of_waves_are_made_again_and_galleries_go_on() {
    let desk = Desk::new();
    let recipe = busy().to_toml();
    std::fs::write(desk.path("waves.toml"), &recipe).expect("a recipe");
    desk.good("generate -m resnet50 --class church --recipe waves.toml --film film.gif --out a.png");
    desk.good("replay a.png --out again.png");
    let [first, second] = ["a.png", "again.png"].map(|name| std::fs::read(desk.path(name)).expect("a picture"));
    assert!(first == second, "another file comes out");
    let said = desk.good("verify a.png");
    assert!(said.contains("comes out the same, bit by bit"), "{said}");
}
