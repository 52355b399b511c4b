//! Pictures from their spectra.

use std::f64::consts::TAU;

use super::pass::{Backward, Domain, Forward, Op, Sample, View, arguments};
use super::shader;
use crate::device::{Kernel, Recorder};
use crate::tensor::Shape;
use crate::{Error, Result};

/// The real picture that half a spectrum stands for, whose frequencies f are first multiplied by 1 / f^`decay`.
///
/// f is counted in cycles along the longer side of the picture and is at least 1; a `decay` of 0 changes nothing. Sums are not
/// divided by anything, so that a spectrum means the same picture at every size.
///
/// Any size works. The cost for each pixel grows with the sum of the prime factors of height and width, so that sides of
/// many small factors are the quickest, and a prime side costs as much as a plain sum along it.
///
/// **Shapes** `spectrum` [N, C, 2H, W/2 + 1], whose first H rows are real parts and the others imaginary ones -> [N, C, H, W].
///
/// **Errors** [`Error::Shape`] when the spectrum has an odd number of rows, or not W/2 + 1 columns.
///
/// **Reference** `numpy.fft.irfft2(spectrum, s=(H, W), norm="forward")`. The scaled spectrum as a basis for pictures: Mordvintsev,
/// Pezzotti, Schubert and Olah, "Differentiable Image Parameterizations", Distill 2018.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Irfft2 {
    /// Width of the picture, which half a spectrum leaves open: W/2 is rounded down.
    pub width: usize,
    /// The exponent; about 1 for photographs.
    pub decay: f64,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    invocations: u32,
    tasks: u32,
    groups: u32,
    height: u32,
    x_width: u32,
    y_width: u32,
    length: u32,
    radix: u32,
    before: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    direction: f32,
    pad: [u32; 2],
}

shader!("irfft2", Params);

/// Largest radix that is tried as one of several: its terms are added one by one.
const LARGEST_RADIX: usize = 16;

/// What a stage costs besides its sums, in terms of a sum.
const STAGE: usize = 4;

/// Terms of the sums of a stage: of an even radix two outputs share theirs.
fn terms(radix: usize) -> usize {
    if radix.is_multiple_of(2) { radix / 2 } else { radix }
}

/// The radices whose product is the length with the fewest terms to add, in ascending order.
fn radices(length: usize) -> Vec<usize> {
    cheapest(length, 1).1
}

/// The same of radices from `least` on, and what they cost.
fn cheapest(length: usize, least: usize) -> (usize, Vec<usize>) {
    // A length that has no such radix is one itself.
    let alone = (STAGE + terms(length), vec![length]);
    let split =
        (least.max(2)..=LARGEST_RADIX).filter(|radix| length.is_multiple_of(*radix) && length / radix >= *radix);
    let split = split.map(|radix| {
        let (cost, rest) = cheapest(length / radix, radix);
        (cost + STAGE + terms(radix), [vec![radix], rest].concat())
    });
    split.fold(alone, |best, next| if next.0 < best.0 { next } else { best })
}

/// How the numbers of a value lie.
#[derive(Clone, Copy)]
enum Form {
    Complex = 0,
    /// The first half of a complex row, the mirror of the other one.
    Half = 1,
    Real = 2,
}

/// Where the factors of frequencies go.
#[derive(Clone, Copy)]
enum Scaled {
    Nothing = 0,
    Reads = 1,
    Writes = 2,
}

/// The transform of one axis.
#[derive(Clone, Copy)]
struct Axis {
    across: bool,
    /// 1 inverse, -1 forward.
    direction: f32,
    /// Forms of what is read first and of what is written last.
    forms: [Form; 2],
    scaled: Scaled,
}

impl Irfft2 {
    /// Half the spectrum of pictures.
    pub fn spectrum_shape(picture: Shape) -> Shape {
        let [n, c, h, w] = picture.0;
        Shape::new(n, c, 2 * h, w / 2 + 1)
    }

    /// What each frequency is multiplied by, for pictures of this height and width: rows of W/2 + 1.
    pub fn scales(decay: f64, [height, width]: [usize; 2]) -> Vec<f64> {
        let longer = height.max(width) as f64;
        let frequency = move |ky: usize, kx: usize| {
            let (down, across) = (ky.min(height - ky) as f64 / height as f64, kx as f64 / width as f64);
            (longer * down.hypot(across)).max(1.0)
        };
        let rows = (0..height).flat_map(|ky| (0..=width / 2).map(move |kx| (ky, kx)));
        rows.map(|(ky, kx)| frequency(ky, kx).powf(-decay)).collect()
    }

    /// Appends the stages of one axis, from `x` to `y`; values between them have `between` as their shape.
    fn transform(&self, recorder: &mut Recorder, axis: Axis, picture: Shape, between: Shape, x: View, y: View) {
        let [height, width] = [picture.h(), picture.w()];
        let length = if axis.across { width } else { height };
        let roots: Vec<[f32; 2]> = (0..length)
            .map(|t| {
                let (sin, cos) = (TAU * t as f64 / length as f64).sin_cos();
                [cos as f32, sin as f32]
            })
            .collect();
        let roots = recorder.constants("roots of one", &roots);
        let scales: Vec<f32> = match axis.scaled {
            Scaled::Nothing => vec![1.0],
            _ => Self::scales(self.decay, [height, width]).into_iter().map(|scale| scale as f32).collect(),
        };
        let scales = recorder.constants("scales of frequencies", &scales);
        let radices = radices(length);
        let (mut from, mut before) = (x, 1);
        for (index, &radix) in radices.iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == radices.len());
            let to = if last { y } else { View::transient(recorder, "part of a transform", between) };
            let reads = if first { axis.forms[0] } else { Form::Complex };
            let writes = if last { axis.forms[1] } else { Form::Complex };
            let scales_now = match axis.scaled {
                Scaled::Reads if first => Scaled::Reads,
                Scaled::Writes if last => Scaled::Writes,
                _ => Scaled::Nothing,
            };
            // Lines of numbers that are transformed together.
            let lines = picture.n() * if axis.across { height } else { to.shape.w() };
            let tasks = length / radix * terms(radix).div_ceil(4);
            let invocations = lines * tasks * to.shape.groups();
            let params = Params {
                invocations: invocations as u32,
                tasks: tasks as u32,
                groups: to.shape.groups() as u32,
                height: height as u32,
                x_width: from.shape.w() as u32,
                y_width: to.shape.w() as u32,
                length: length as u32,
                radix: radix as u32,
                before: before as u32,
                x_offset: from.offset,
                x_stride: from.stride,
                y_offset: to.offset,
                y_stride: to.stride,
                direction: axis.direction,
                pad: [0; 2],
            };
            let kernel = Kernel::new(&SHADER, "stage")
                .with("ACROSS", axis.across)
                .with("READS", reads as u32)
                .with("WRITES", writes as u32)
                .with("HALVES", radix.is_multiple_of(2))
                .with("SCALES", scales_now as u32);
            let bindings = [(1, from.buffer), (2, roots), (3, scales), (4, to.buffer)];
            let flops = invocations * 4 * 4 * 8 * radix;
            recorder.launch(kernel, &params, &bindings, invocations, 1, flops);
            (from, before) = (to, before * radix);
        }
    }
}

impl Op for Irfft2 {
    fn name(&self) -> &'static str {
        SHADER.name
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let [spectrum] = arguments(self.name(), inputs)?;
        let [n, c, rows, _] = spectrum.0;
        let picture = Shape::new(n, c, rows / 2, self.width);
        let expected = Self::spectrum_shape(picture);
        let sense = rows > 0 && self.width > 0 && self.decay.is_finite();
        if sense && expected == spectrum {
            return Ok(picture);
        }
        let expected = format!("2H rows and {} columns for a width of {}", self.width / 2 + 1, self.width);
        Err(Error::shape(self.name(), "spectrum", expected, spectrum))
    }

    fn forward(&self, recorder: &mut Recorder, pass: &Forward) {
        let (spectrum, picture) = (pass.inputs[0], pass.output);
        let [n, c, h, w] = picture.shape.0;
        let between = View::transient(recorder, "columns of a transform", spectrum.shape);
        let columns =
            Axis { across: false, direction: 1.0, forms: [Form::Complex, Form::Complex], scaled: Scaled::Reads };
        self.transform(recorder, columns, picture.shape, spectrum.shape, spectrum, between);
        let rows = Axis { across: true, direction: 1.0, forms: [Form::Half, Form::Real], scaled: Scaled::Nothing };
        self.transform(recorder, rows, picture.shape, Shape::new(n, c, 2 * h, w), between, picture);
    }

    fn backward(&self, recorder: &mut Recorder, pass: &Backward) -> Result<()> {
        let Some(grad) = pass.grads[0] else { return Ok(()) };
        let picture = pass.grad_output;
        let [n, c, h, w] = picture.shape.0;
        let between = View::transient(recorder, "gradient of columns", grad.shape);
        let rows = Axis { across: true, direction: -1.0, forms: [Form::Real, Form::Half], scaled: Scaled::Nothing };
        self.transform(recorder, rows, picture.shape, Shape::new(n, c, 2 * h, w), picture, between);
        let columns =
            Axis { across: false, direction: -1.0, forms: [Form::Complex, Form::Complex], scaled: Scaled::Writes };
        self.transform(recorder, columns, picture.shape, grad.shape, between, grad);
        Ok(())
    }
}

/// Configurations for tests and benches.
pub fn samples() -> Vec<Sample> {
    let sample = |[n, c, h, w]: [usize; 4], decay| {
        let spectrum = Irfft2::spectrum_shape(Shape::new(n, c, h, w));
        Sample::new(Irfft2 { width: w, decay }, [Domain::linear(spectrum)])
    };
    vec![
        sample([2, 3, 7, 5], 0.0),
        sample([1, 5, 6, 8], 1.0),
        sample([1, 3, 1, 1], 1.5),
        sample([2, 3, 2, 1], 0.5),
        // Two stages, and three, on either axis.
        sample([1, 3, 34, 36], 1.5),
        sample([1, 3, 50, 19], 1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radices_multiply_to_their_length_and_are_small_where_its_primes_are() {
        for length in 1..=400 {
            assert_eq!(radices(length).iter().product::<usize>(), length);
        }
        assert_eq!((radices(1), radices(127), radices(128)), (vec![1], vec![127], vec![4, 4, 8]));
        assert_eq!((radices(112), radices(136), radices(299)), (vec![8, 14], vec![4, 34], vec![13, 23]));
    }

    #[test]
    fn spectra_of_another_size_are_refused() {
        let op = Irfft2 { width: 6, decay: 1.0 };
        assert_eq!(op.output_shape(&[Shape::new(1, 3, 10, 4)]).expect("it fits"), Shape::new(1, 3, 5, 6));
        for shape in [Shape::new(1, 3, 9, 4), Shape::new(1, 3, 10, 3), Shape::new(1, 3, 0, 4)] {
            let error = op.output_shape(&[shape]).expect_err("it does not fit").to_string();
            assert!(error.contains("2H rows and 4 columns for a width of 6"), "{error}");
        }
    }
}
