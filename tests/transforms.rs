//! What a step does to a picture besides the descent: maps of the window, penalties, brightness, the blur of a window.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::ControlFlow;
use std::sync::OnceLock;

use common::compare::{Bound, assert_close};
use common::generator::Generator;
use common::gpu::{device, run};
use common::reference::demo_network;
use entoptic::evaluate::{self, Scene};
use entoptic::nets::{Network, Normalize};
use entoptic::objective::{Objective, Place, class_input};
use entoptic::ops::{StatisticsDistance, TotalVariation, Warp};
use entoptic::synthesis::octave::{PictureNumbers, Schedule, Stream};
use entoptic::synthesis::recipe::{Init, Recipe, Start};
use entoptic::synthesis::stage::{BlurOn, Stage, StepRule};
use entoptic::synthesis::{self, Job};
use entoptic::tensor::{Array, Layout, Shape};

const SEED: Generator = Generator { seed: 5 };

fn random(name: &str, shape: Shape) -> Array {
    Array::new(shape, SEED.tensor_symmetric(name, shape.elements(), 1.0))
}

/// The picture through a map for each of the batch, and the gradient of <y, upstream>.
fn warped(x: &Array, maps: &[[f32; 6]], upstream: &Array) -> [Array; 2] {
    let matrix = Array::new(Shape::new(maps.len(), 6, 1, 1), maps.concat());
    let inputs = [(x.clone(), Layout::Picture), (matrix, Layout::Picture)];
    let outcome = run(&Warp, &inputs, Some(upstream), &[true, false]);
    [outcome.output, outcome.grads[0].clone().unwrap()]
}

/// `value(n, c, y, x)` everywhere.
fn filled(shape: Shape, value: impl Fn(usize, usize, usize, usize) -> f32) -> Array {
    let [_, c, h, w] = shape.0;
    let at = |k: usize| value(k / (c * h * w), k / (h * w) % c, k / w % h, k % w);
    Array::new(shape, (0..shape.elements()).map(at).collect())
}

fn at(array: &Array, n: usize, c: usize, y: usize, x: usize) -> f32 {
    let [_, channels, h, w] = array.shape.0;
    array.values[((n * channels + c) * h + y) * w + x]
}

#[test]
fn identity_mirrors_and_whole_shifts_are_exact() {
    let shape = Shape::new(3, 3, 7, 6);
    let (x, upstream) = (random("x", shape), random("upstream", shape));
    let maps = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, -2.0, 0.0, 1.0, 3.0]];
    let [y, gradient] = warped(&x, &maps, &upstream);
    let expected = filled(shape, |n, c, oy, ox| match n {
        0 => at(&x, n, c, oy, ox),
        1 => at(&x, n, c, oy, 5 - ox),
        // Two columns to the right, three rows up; the edge repeats.
        _ => at(&x, n, c, (oy + 3).min(6), ox.saturating_sub(2)),
    });
    assert_eq!(y, expected);
    for (n, name) in ["identity", "mirror"].into_iter().enumerate() {
        let back = |k: usize| if n == 0 { k } else { 5 - k };
        let expected = filled(Shape::new(1, 3, 7, 6), |_, c, iy, ix| at(&upstream, n, c, iy, back(ix)));
        assert_eq!(gradient.picture(n), expected, "{name}");
    }
    // Each output pixel is one input pixel: none of the gradient is lost, whatever lies beyond the edge.
    for n in 0..3 {
        let sum = |array: Array| array.values.iter().map(|&g| f64::from(g)).sum::<f64>();
        assert!((sum(gradient.picture(n)) - sum(upstream.picture(n))).abs() < 1e-5, "picture {n}");
    }
}

/// Turns, magnifications, shears and a singular map against loops in f64.
#[test]
fn warp_equals_its_formula() {
    let maps: [[f32; 6]; 6] = [
        [0.939_692_6, -0.342_020_15, 0.3, 0.342_020_15, 0.939_692_6, -0.7],
        [1.6, 0.0, 2.5, 0.0, 1.6, 0.0],
        [-0.45, 0.2, 0.0, -0.2, 0.45, 1.25],
        [0.0, 1.0, 0.0, -1.0, 0.0, 0.0],
        [1.0, 2.0, 0.4, 0.5, 1.0, 0.2],
        [0.9, 0.1, 40.0, -0.1, 0.9, -3.0],
    ];
    let shape = Shape::new(maps.len(), 5, 13, 10);
    let [_, c, h, w] = shape.0;
    let (x, upstream) = (random("x", shape), random("upstream", shape));
    let [y, gradient] = warped(&x, &maps, &upstream);
    let mut expected = vec![0.0; shape.elements()];
    let mut expected_gradient = vec![0.0; shape.elements()];
    for (n, map) in maps.iter().enumerate() {
        let [a, b, c0, d, e, f] = map.map(f64::from);
        let (cx, cy) = ((w - 1) as f64 / 2.0, (h - 1) as f64 / 2.0);
        for (oy, ox) in (0..h).flat_map(|oy| (0..w).map(move |ox| (oy, ox))) {
            let (u, v) = (ox as f64 - cx, oy as f64 - cy);
            let ix = (a * u + b * v + c0 + cx).clamp(0.0, 2.0 * cx);
            let iy = (d * u + e * v + f + cy).clamp(0.0, 2.0 * cy);
            let (left, top) = (ix.floor() as usize, iy.floor() as usize);
            let (right, bottom) = ((left + 1).min(w - 1), (top + 1).min(h - 1));
            let (fx, fy) = (ix - left as f64, iy - top as f64);
            let corners = [
                (top, left, (1.0 - fx) * (1.0 - fy)),
                (top, right, fx * (1.0 - fy)),
                (bottom, left, (1.0 - fx) * fy),
                (bottom, right, fx * fy),
            ];
            for channel in 0..c {
                let plane = (n * c + channel) * h;
                for (iy, ix, weight) in corners {
                    let (from, to) = ((plane + iy) * w + ix, (plane + oy) * w + ox);
                    expected[to] += weight * f64::from(x.values[from]);
                    expected_gradient[from] += weight * f64::from(upstream.values[to]);
                }
            }
        }
    }
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    // Positions of up to ten pixels are rounded to 1e-6, and so are the weights.
    for (label, found, expected) in [("y", y, narrow(expected)), ("grad_x", gradient, narrow(expected_gradient))] {
        let used = assert_close(label, &found.values, &expected, Bound { rel_l2: 2e-6, abs: 1e-5 });
        println!("{label}: {used:.2} of the bound");
    }
}

#[test]
fn total_variation_adds_up_differences_and_ignores_ties() {
    let shape = Shape::new(2, 3, 6, 5);
    // Whole numbers from 0 to 3, many of them equal to their neighbours: everything is exact.
    let x = Array::new(shape, SEED.map("levels", shape.elements(), |u| (4.0 * u).floor()));
    let upstream = Array::new(Shape::per_picture(2), vec![1.0, -0.5]);
    let outcome = run(&TotalVariation, &[(x.clone(), Layout::Picture)], Some(&upstream), &[true]);
    let neighbours = |y: usize, x: usize| {
        let places = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
        places.into_iter().filter(|&(y, x)| y < 6 && x < 5)
    };
    let differences = |n, c, iy, ix| -> Vec<f32> {
        let here = at(&x, n, c, iy, ix);
        neighbours(iy, ix).map(|(y, x_)| here - at(&x, n, c, y, x_)).collect()
    };
    // Each pair is met from both of its sides.
    let halves = filled(shape, |n, c, y, x| differences(n, c, y, x).iter().map(|d| d.abs() / 2.0).sum());
    let sums: Vec<f32> = (0..2).map(|n| halves.picture(n).values.iter().sum()).collect();
    assert_eq!(outcome.output.values, sums);
    let sign = |d: &f32| if *d == 0.0 { 0.0 } else { d.signum() };
    let slopes = filled(shape, |n, c, y, x| upstream.values[n] * differences(n, c, y, x).iter().map(sign).sum::<f32>());
    assert_eq!(outcome.grads[0].as_ref().unwrap(), &slopes);
}

/// Distance and gradient against their formula in f64, on values whose mean is far from zero next to their spread.
#[test]
fn statistics_are_those_of_each_picture() {
    let eps = 1e-3;
    let shape = Shape::new(3, 6, 50, 47);
    let [n, c, h, w] = shape.0;
    let noise = random("noise", shape);
    let x = filled(shape, |n, c, iy, ix| 20.0 * c as f32 + (n + 1) as f32 * at(&noise, n, c, iy, ix));
    let mean = Array::new(Shape::channels(c), (0..c).map(|c| 20.0 * c as f32 + 0.25).collect());
    let var = Array::new(Shape::channels(c), SEED.tensor_uniform("var", c, 0.1, 2.0));
    let upstream = Array::new(Shape::per_picture(n), vec![1.0, -0.5, 2.0]);
    let statistics = [(mean.clone(), Layout::Picture), (var.clone(), Layout::Picture)];
    let measure = |x: Array, upstream: Array| {
        let inputs = [&[(x, Layout::Picture)], &statistics[..]].concat();
        run(&StatisticsDistance { eps }, &inputs, Some(&upstream), &[true, false, false])
    };
    let outcome = measure(x.clone(), upstream.clone());
    let (area, eps) = (h * w, f64::from(eps));
    let mut distances = vec![0.0; n];
    let mut gradient = Vec::new();
    for (plane, pixels) in x.values.chunks(area).enumerate() {
        let (n, channel) = (plane / c, plane % c);
        let (mu, sigma) = (f64::from(mean.values[channel]), f64::from(var.values[channel]) + eps);
        let m = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / area as f64;
        let v = pixels.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / area as f64 + eps;
        distances[n] += ((m - mu).powi(2) / sigma + (v / sigma).ln().powi(2)) / c as f64;
        let scale = f64::from(upstream.values[n]) / (c * area) as f64;
        let slope = |&x: &f32| scale * (2.0 * (m - mu) / sigma + 4.0 * (v / sigma).ln() * (f64::from(x) - m) / v);
        gradient.extend(pixels.iter().map(|x| slope(x) as f32));
    }
    let distances: Vec<f32> = distances.into_iter().map(|d| d as f32).collect();
    let used = assert_close("distance", &outcome.output.values, &distances, Bound::rel_l2(5e-6));
    println!("distance: {used:.2} of the bound");
    let found = outcome.grads[0].as_ref().unwrap();
    let used = assert_close("gradient", &found.values, &gradient, Bound::rel_l2(5e-6));
    println!("gradient: {used:.2} of the bound");
    // A picture is measured alone, whatever the batch.
    for k in 0..n {
        let alone = measure(x.picture(k), Array::filled(Shape::per_picture(1), upstream.values[k]));
        assert_eq!(alone.output.values[0], outcome.output.values[k]);
        assert_eq!(alone.grads[0].as_ref().unwrap(), &found.picture(k));
    }
}

#[test]
fn a_single_pixel_has_a_mean_and_no_variance() {
    let inputs = [vec![3.0, -1.0], vec![1.0, -1.0], vec![4.0, 0.5]]
        .map(|values| (Array::new(Shape::channels(2), values), Layout::Picture));
    let upstream = Array::filled(Shape::per_picture(1), 1.0);
    let outcome = run(&StatisticsDistance { eps: 0.0 }, &inputs, Some(&upstream), &[true, false, false]);
    assert_eq!(outcome.output.values, [0.5]);
    assert_eq!(outcome.grads[0].as_ref().unwrap().values, [0.5, 0.0]);
}

/// The small trained ResNet50.
fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| demo_network(device(), "resnet50", "transforms"))
}

/// Side of the picture before a stage, in pixels.
const SIDE: usize = 64;

fn recipe(stage: &Stage) -> Recipe {
    let init = Init { size: SIDE as u32, start: Start::Normal { mean: 0.5, std: 0.1 } };
    Recipe {
        name: "test".into(),
        description: String::new(),
        normalize: Normalize::Imagenet,
        init,
        parametrisation: Default::default(),
        stages: vec![stage.clone()],
    }
}

fn stream(picture: usize) -> Stream {
    Stream { seed: 5, picture: picture as u64 }
}

fn scene(classes: &[usize], objective: Objective) -> Scene<'static> {
    let indices = classes.iter().map(|&class| class as f32).collect();
    Scene {
        objective,
        inputs: vec![(class_input(0), Array::new(Shape::per_picture(classes.len()), indices))],
        ..Scene::of(vec![network()], Normalize::Imagenet)
    }
}

/// Pictures of some classes, and the losses before their last step.
fn made_with(objective: Objective, stage: &Stage, classes: &[usize]) -> (Array, Vec<f32>) {
    let job = Job {
        scene: scene(classes, objective),
        recipe: recipe(stage),
        streams: classes.iter().map(|&class| stream(class)).collect(),
        start: None,
        check_finite: false,
        report_every: 1000,
        frame_every: None,
    };
    let finished = synthesis::run(device(), &job, &mut |_| ControlFlow::Continue(())).unwrap();
    (finished.pictures, finished.loss)
}

fn made(stage: &Stage, classes: &[usize]) -> Array {
    made_with(Objective::class(200.0, false), stage, classes).0
}

/// The picture before the first step.
fn start(class: usize) -> Array {
    synthesis::octave::initial(&recipe(&Stage::new(1, [0.0, 0.0])), stream(class)).unwrap()
}

/// The numbers of one picture's steps.
fn numbers(stage: &Stage, class: usize) -> Vec<PictureNumbers> {
    let schedule = Schedule::new(&recipe(stage), &[stream(class)]).unwrap();
    schedule.stages()[0].steps.iter().map(|step| step.pictures[0]).collect()
}

/// Some steps of a stated mean change.
fn steps(iterations: u32) -> Stage {
    Stage { step: StepRule::Normalized, ..Stage::new(iterations, [0.02, 0.02]) }
}

/// Every way in which the networks see other than the window itself, over windows of their own.
fn moving() -> Stage {
    Stage { crop: Some(56), shift: 3, scale: [0.9, 1.2], flip: true, rotation: 12.0, colour_jitter: 0.1, ..steps(4) }
}

#[test]
fn transforms_are_reproducible_and_each_changes_the_picture() {
    let still = Stage { crop: Some(56), ..steps(4) };
    let plain = made(&still, &[4]);
    for (key, stage) in [
        ("shift", Stage { shift: 3, ..still.clone() }),
        ("scale", Stage { scale: [0.9, 1.2], ..still.clone() }),
        ("flip", Stage { flip: true, ..still.clone() }),
        ("rotation", Stage { rotation: 12.0, ..still.clone() }),
        ("colour_jitter", Stage { colour_jitter: 0.1, ..still.clone() }),
        ("all", moving()),
    ] {
        let picture = made(&stage, &[4]);
        assert!(picture.values.iter().all(|value| value.is_finite()), "{key}");
        assert_ne!(picture, plain, "{key}");
        assert_eq!(picture, made(&stage, &[4]), "{key}");
    }
}

#[test]
fn a_transformed_picture_does_not_depend_on_its_batch() {
    let stage =
        Stage { total_variation: 1e-3, bn_statistics: 0.1, sigma: [0.8, 0.8], blur_on: BlurOn::Crop, ..moving() };
    let classes = [8, 4, 1];
    let together = made(&stage, &classes);
    for (n, &class) in classes.iter().enumerate() {
        assert_eq!(made(&stage, &[class]), together.picture(n), "picture {n}");
    }
}

/// A step against its parts done one by one: what is seen, the gradient there, and that gradient back on the window.
#[test]
fn one_step_goes_down_the_gradient_of_what_is_seen() {
    let rate = 0.5;
    let stage = Stage { shift: 3, scale: [0.9, 1.2], flip: true, rotation: 12.0, ..Stage::new(1, [rate; 2]) };
    let after = made(&stage, &[2]);
    let before = start(2);
    let [map] = numbers(&stage, 2)[..] else { panic!("one step") };
    let [seen, _] = warped(&before, &[map.map()], &before);
    let upstream =
        evaluate::gradient(device(), &scene(&[2], Objective::class(200.0, false)), &seen, false).unwrap().gradient;
    let [_, gradient] = warped(&before, &[map.map()], &upstream);
    let expected: Vec<f32> = before.values.iter().zip(&gradient.values).map(|(p, g)| p - rate as f32 * g).collect();
    // The same kernels in another recording.
    assert_close("after one step", &after.values, &expected, Bound { rel_l2: 1e-6, abs: 1e-5 });
    assert_ne!(after, before);
}

#[test]
fn brightness_multiplies_the_picture_before_each_step() {
    let stage = Stage { colour_jitter: 0.2, ..Stage::new(3, [0.0, 0.0]) };
    let factors: Vec<f32> = numbers(&stage, 3).iter().map(|step| step.brightness).collect();
    let expected = start(3).values.iter().map(|p| factors.iter().fold(*p, |p, factor| p * factor)).collect();
    assert_eq!(made(&stage, &[3]), Array::new(Shape::new(1, 3, SIDE, SIDE), expected));
}

#[test]
fn the_blur_of_a_window_leaves_the_rest_alone() {
    let blurred = |blur_on, rate| {
        let stage = Stage { crop: Some(40), sigma: [1.5, 1.5], blur_on, ..Stage::new(1, [rate; 2]) };
        (made(&stage, &[6]), numbers(&stage, 6)[0])
    };
    let before = start(6);
    for rate in [0.0, 0.5] {
        let (after, PictureNumbers { top, left, .. }) = blurred(BlurOn::Crop, rate);
        let window = |y: usize, x: usize| (y.wrapping_sub(top as usize)) < 40 && (x.wrapping_sub(left as usize)) < 40;
        let differs = |inside: bool| {
            let places = (0..SIDE * SIDE).filter(|k| window(k / SIDE, k % SIDE) == inside);
            places.filter(|&k| before.values[k] != after.values[k]).count()
        };
        assert_eq!(differs(false), 0, "rate {rate}: pixels outside of the window");
        assert!(differs(true) > 1500, "rate {rate}: pixels inside of the window");
        assert!(top > 0 && left > 0, "a window in the corner tests less");
    }
    // Far from the window's border, where nothing is reflected, it is the blur of the whole picture.
    let ((whole, at), (crop, _)) = (blurred(BlurOn::Whole, 0.5), blurred(BlurOn::Crop, 0.5));
    let inner = |array: &Array| -> Vec<f32> {
        let places = (1..39).flat_map(|y| (1..39).map(move |x| (y + at.top as usize, x + at.left as usize)));
        places.map(|(y, x)| array.values[y * SIDE + x]).collect()
    };
    assert_eq!(inner(&whole), inner(&crop));
    assert_ne!(whole, crop);
}

/// Sum of absolute differences of neighbours, by the definition.
fn variation(picture: &Array) -> f64 {
    let difference = |k: usize, l: usize| f64::from((picture.values[k] - picture.values[l]).abs());
    let places = 0..picture.values.len();
    places
        .map(|k| {
            let right = if k % SIDE + 1 < SIDE { difference(k, k + 1) } else { 0.0 };
            let below = if k / SIDE % SIDE + 1 < SIDE { difference(k, k + SIDE) } else { 0.0 };
            right + below
        })
        .sum()
}

#[test]
fn a_penalty_on_variation_makes_the_picture_smoother() {
    let stage = Stage { rate: [0.01, 0.0], ..steps(12) };
    let plain = variation(&made(&stage, &[0]));
    let smooth = variation(&made(&Stage { total_variation: 100.0, ..stage.clone() }, &[0]));
    let before = variation(&start(0));
    println!("total variation {before:.0}, after plain steps {plain:.0}, with the penalty {smooth:.0}");
    assert!(smooth < 0.5 * before && smooth < 0.5 * plain, "{before:.0} {plain:.0} {smooth:.0}");
}

#[test]
fn steps_bring_the_statistics_closer_to_those_of_training() {
    let statistics = |picture: &Array| {
        let scene = scene(&[0], Objective::statistics(0));
        evaluate::gradient(device(), &scene, picture, false).unwrap().loss.values[0]
    };
    let before = statistics(&start(0));
    // Any structure is closer to photographs than noise is; the penalty must do better than that.
    let after = statistics(&made(&Stage { bn_statistics: 1.0, ..steps(10) }, &[0]));
    let without = statistics(&made(&steps(10), &[0]));
    println!("distance of statistics {before:.1}, after ten steps {after:.1}, without the penalty {without:.1}");
    assert!(after < 0.7 * before && after < without, "{before:.1} {after:.1} {without:.1}");
}

/// The penalty of a whole network against its layers one by one: statistics of what each convolution gives, in f64.
#[test]
fn the_statistics_of_a_network_are_those_of_all_its_batch_norms() {
    let picture = start(7);
    let scene = scene(&[7], Objective::statistics(0));
    let found = evaluate::gradient(device(), &scene, &picture, false).unwrap().loss.values[0];
    let weights = network().weights(device()).unwrap();
    let weight = |name: String| &weights.iter().find(|array| array.name == name).unwrap().values;
    let norms: Vec<&str> = weights.iter().filter_map(|array| array.name.strip_suffix(".running_mean")).collect();
    assert_eq!(norms.len(), 53);
    // torchvision names the convolution before `bn2` `conv2`, and that before `downsample.1` `downsample.0`.
    let convolution = |norm: &str| norm.replace("bn", "conv").replace("downsample.1", "downsample.0");
    let places: Vec<Place> = norms.iter().map(|norm| Place::Layer(0, convolution(norm))).collect();
    let values = evaluate::outputs(device(), &scene, &picture, &places, false).unwrap();
    let mut expected = 0.0;
    for (norm, x) in norms.iter().zip(&values) {
        let [_, c, h, w] = x.shape.0;
        let (mean, var) = (weight(format!("{norm}.running_mean")), weight(format!("{norm}.running_var")));
        for (channel, pixels) in x.values.chunks(h * w).enumerate() {
            let (mu, sigma) = (f64::from(mean[channel]), f64::from(var[channel]) + 1e-5);
            let m = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / pixels.len() as f64;
            let v = pixels.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / pixels.len() as f64 + 1e-5;
            expected += ((m - mu).powi(2) / sigma + (v / sigma).ln().powi(2)) / c as f64;
        }
    }
    assert_close("statistics", &[found], &[expected as f32], Bound::rel_l2(1e-5));
}
