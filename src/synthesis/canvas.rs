//! What a run optimises, on the device: pictures, or the numbers that make them, and how they change their size.

use super::parametrisation::Parametrisation;
use crate::Result;
use crate::device::{Buffer, Device, Externals, Program, Readback, Recorder};
use crate::evaluate::PICTURE;
use crate::evaluate::parts::{at_a_time, ranges};
use crate::ops::{Op, Pad, Resize, ResizeMode};
use crate::tape::{Request, Tape, Var};
use crate::tensor::{Array, Layout, Shape};

/// Parameters of pictures in one buffer.
pub(super) struct Canvas {
    /// Where they lie.
    pub buffer: Buffer,
    /// Their shape.
    pub parameters: Shape,
    /// The shape of the pictures that they make.
    pub pictures: Shape,
    /// Makes the pictures, where the parameters are something else.
    decoder: Option<Decoder>,
    readback: Readback,
}

/// What makes pictures from parameters, and where they lie then.
struct Decoder {
    program: Program,
    pictures: Buffer,
}

/// All pictures, in as many buffers as the device needs.
pub(super) struct Canvases {
    parametrisation: Parametrisation,
    parts: Vec<Canvas>,
}

impl Canvases {
    /// Puts the parameters of pictures of this height and width on the device.
    pub(super) fn new(
        device: &Device,
        parametrisation: Parametrisation,
        parameters: &Array,
        extent: [usize; 2],
    ) -> Result<Self> {
        at_a_time(parameters.shape.n(), |size| Self::in_parts(device, parametrisation, parameters, extent, size))
    }

    fn in_parts(
        device: &Device,
        parametrisation: Parametrisation,
        parameters: &Array,
        extent: [usize; 2],
        size: usize,
    ) -> Result<Self> {
        let parts = ranges(parameters.shape.n(), size).map(|range| {
            let part = parameters.pictures(range);
            let buffer = device.upload(PICTURE, Layout::Picture, &part)?;
            Canvas::of(device, &parametrisation, buffer, part.shape, extent)
        });
        Ok(Canvases { parametrisation, parts: parts.collect::<Result<_>>()? })
    }

    /// The pictures as they are now.
    pub(super) fn download(&mut self, device: &Device) -> Result<Array> {
        let shape = self.shape();
        Ok(Array::new(shape, Layout::Picture.unpack(shape, &self.stored(device)?)))
    }

    /// The same as the device has them.
    pub(super) fn stored(&mut self, device: &Device) -> Result<Vec<f32>> {
        let mut stored = Vec::new();
        for part in &mut self.parts {
            if let Some(decoder) = &mut part.decoder {
                decoder.program.run()?;
            }
            let pictures = part.decoder.as_ref().map_or(&part.buffer, |decoder| &decoder.pictures);
            let mut read = part.readback.read::<f32>(device, pictures)?;
            read.truncate(Layout::Picture.stored(part.pictures));
            stored.extend(read);
        }
        Ok(stored)
    }

    /// The parameters, where they are not the pictures themselves.
    pub(super) fn parameters(&self, device: &Device) -> Result<Option<Array>> {
        if self.parametrisation.is_plain() { Ok(None) } else { self.optimised(device).map(Some) }
    }

    /// What is optimised, as it is now.
    fn optimised(&self, device: &Device) -> Result<Array> {
        let parts = self.parts.iter().map(|part| {
            let mut read = part.readback.read::<f32>(device, &part.buffer)?;
            read.truncate(Layout::Picture.stored(part.parameters));
            Ok(Array::new(part.parameters, Layout::Picture.unpack(part.parameters, &read)))
        });
        Ok(Array::batch(parts.collect::<Result<_>>()?))
    }

    /// Shape of all pictures.
    pub(super) fn shape(&self) -> Shape {
        let [_, c, h, w] = self.parts[0].pictures.0;
        Shape::new(self.parts.iter().map(|part| part.pictures.n()).sum(), c, h, w)
    }

    /// Host-visible memory for the pictures or the parameters of a part.
    pub(super) fn readback(&self) -> &Readback {
        &self.parts[0].readback
    }

    /// Does something with all parts, and with smaller ones where these are too large for it.
    pub(super) fn each<T>(&mut self, device: &Device, mut work: impl FnMut(&[Canvas]) -> Result<T>) -> Result<T> {
        let now = self.parts[0].pictures.n();
        at_a_time(now, |size| {
            if size != self.parts[0].pictures.n() {
                let extent = self.parts[0].extent();
                *self = Self::in_parts(device, self.parametrisation, &self.optimised(device)?, extent, size)?;
            }
            work(&self.parts)
        })
    }

    /// Changes height and width of the pictures.
    pub(super) fn resize(&mut self, device: &Device, extent: [u32; 2], mode: ResizeMode) -> Result<()> {
        let (before, [height, width]) = (self.parts[0].extent(), extent.map(|side| side as usize));
        if before == [height, width] {
            return Ok(());
        }
        if self.parametrisation.is_of_pixels() {
            return self.replace(device, Resize { height, width, mode });
        }
        let carried = self.parametrisation.carry(&self.optimised(device)?, before, [height, width]);
        *self = Self::in_parts(device, self.parametrisation, &carried, [height, width], self.parts[0].pictures.n())?;
        Ok(())
    }

    /// Puts a border around the pictures, which are what is optimised.
    pub(super) fn pad(&mut self, device: &Device, width: usize, value: f32) -> Result<()> {
        self.replace(device, Pad { left: width, top: width, right: width, bottom: width, value })
    }

    /// Runs one operation on what is optimised, outside of any step.
    fn replace(&mut self, device: &Device, op: impl Op + Copy + 'static) -> Result<()> {
        let parametrisation = self.parametrisation;
        let replaced = |part: &Canvas| part.replaced(device, &parametrisation, op);
        self.parts = self.each(device, |parts| parts.iter().map(replaced).collect())?;
        Ok(())
    }
}

impl Canvas {
    fn of(
        device: &Device,
        parametrisation: &Parametrisation,
        buffer: Buffer,
        parameters: Shape,
        [height, width]: [usize; 2],
    ) -> Result<Self> {
        let pictures = Shape::new(parameters.n(), parameters.c(), height, width);
        let bytes = Layout::Picture.bytes(pictures).max(Layout::Picture.bytes(parameters));
        let readback = device.readback(bytes)?;
        let decoder = match parametrisation.is_plain() {
            true => None,
            false => {
                let record = |tape: &mut Tape, x| parametrisation.record(tape, x, width);
                let (program, pictures, _) = on_its_own(device, "parametrisation", &buffer, parameters, record)?;
                Some(Decoder { program, pictures })
            }
        };
        Ok(Canvas { decoder, buffer, parameters, pictures, readback })
    }

    fn extent(&self) -> [usize; 2] {
        [self.pictures.h(), self.pictures.w()]
    }

    fn replaced(&self, device: &Device, parametrisation: &Parametrisation, op: impl Op + 'static) -> Result<Canvas> {
        let apply = |tape: &mut Tape, x| tape.apply(op, &[x]);
        let (mut program, buffer, shape) = on_its_own(device, "change of size", &self.buffer, self.parameters, apply)?;
        program.run()?;
        Canvas::of(device, parametrisation, buffer, shape, [shape.h(), shape.w()])
    }
}

/// A program of what is recorded for the value in a buffer, and the buffer and shape of its result.
fn on_its_own(
    device: &Device,
    label: &str,
    buffer: &Buffer,
    shape: Shape,
    record: impl FnOnce(&mut Tape, Var) -> Result<Var>,
) -> Result<(Program, Buffer, Shape)> {
    let mut tape = Tape::default();
    let x = tape.input(PICTURE, shape);
    let y = record(&mut tape, x)?;
    let mut recorder = Recorder::new(device.tuning());
    let request = Request { keep: vec![y], ..Request::default() };
    let recorded = tape.record(&mut recorder, &request)?;
    let externals = Externals::from([(PICTURE.to_owned(), buffer.clone())]);
    let program = Program::prepare(device, label, &recorder.finish(), &externals)?;
    let result = program.buffer(recorded.kept[0].buffer).clone();
    Ok((program, result, tape.shape(y)))
}
