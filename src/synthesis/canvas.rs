//! The pictures of a run on the device, and how they change their size.

use crate::Result;
use crate::device::{Buffer, Device, Externals, Program, Readback, Recorder};
use crate::evaluate::PICTURE;
use crate::evaluate::parts::{at_a_time, ranges};
use crate::ops::{Op, Pad, Resize, ResizeMode};
use crate::tape::{Request, Tape};
use crate::tensor::{Array, Layout, Shape};

/// Pictures in one buffer.
pub(super) struct Canvas {
    /// Where they lie.
    pub buffer: Buffer,
    /// Their shape.
    pub shape: Shape,
    readback: Readback,
}

/// All pictures, in as many buffers as the device needs.
pub(super) struct Canvases {
    parts: Vec<Canvas>,
}

impl Canvases {
    /// Puts pictures on the device.
    pub(super) fn new(device: &Device, pictures: &Array) -> Result<Self> {
        at_a_time(pictures.shape.n(), |size| Self::in_parts(device, pictures, size))
    }

    fn in_parts(device: &Device, pictures: &Array, size: usize) -> Result<Self> {
        let parts = ranges(pictures.shape.n(), size).map(|range| {
            let part = pictures.pictures(range);
            Canvas::of(device, device.upload(PICTURE, Layout::Picture, &part)?, part.shape)
        });
        Ok(Canvases { parts: parts.collect::<Result<_>>()? })
    }

    /// The pictures as they are now.
    pub(super) fn download(&self, device: &Device) -> Result<Array> {
        let shape = self.shape();
        Ok(Array::new(shape, Layout::Picture.unpack(shape, &self.stored(device)?)))
    }

    /// The same as the device has them.
    pub(super) fn stored(&self, device: &Device) -> Result<Vec<f32>> {
        let mut stored = Vec::new();
        for part in &self.parts {
            stored.extend(part.readback.read::<f32>(device, &part.buffer)?);
        }
        Ok(stored)
    }

    /// Shape of all pictures.
    pub(super) fn shape(&self) -> Shape {
        let [_, c, h, w] = self.parts[0].shape.0;
        Shape::new(self.parts.iter().map(|part| part.shape.n()).sum(), c, h, w)
    }

    /// Host-visible memory for the pictures of a part.
    pub(super) fn readback(&self) -> &Readback {
        &self.parts[0].readback
    }

    /// Does something with all parts, and with smaller ones where these are too large for it.
    pub(super) fn each<T>(&mut self, device: &Device, mut work: impl FnMut(&[Canvas]) -> Result<T>) -> Result<T> {
        let now = self.parts[0].shape.n();
        at_a_time(now, |size| {
            if size != self.parts[0].shape.n() {
                *self = Self::in_parts(device, &self.download(device)?, size)?;
            }
            work(&self.parts)
        })
    }

    /// Changes height and width of the pictures.
    pub(super) fn resize(&mut self, device: &Device, extent: [u32; 2], mode: ResizeMode) -> Result<()> {
        let (shape, [height, width]) = (self.parts[0].shape, extent.map(|side| side as usize));
        if [shape.h(), shape.w()] == [height, width] {
            return Ok(());
        }
        self.replace(device, Resize { height, width, mode })
    }

    /// Puts a border around the pictures.
    pub(super) fn pad(&mut self, device: &Device, width: usize, value: f32) -> Result<()> {
        self.replace(device, Pad { left: width, top: width, right: width, bottom: width, value })
    }

    /// Runs one operation on the pictures, outside of any step.
    fn replace(&mut self, device: &Device, op: impl Op + Copy + 'static) -> Result<()> {
        self.parts = self.each(device, |parts| parts.iter().map(|part| part.replaced(device, op)).collect())?;
        Ok(())
    }
}

impl Canvas {
    fn of(device: &Device, buffer: Buffer, shape: Shape) -> Result<Self> {
        let readback = device.readback(Layout::Picture.bytes(shape))?;
        Ok(Canvas { buffer, shape, readback })
    }

    fn replaced(&self, device: &Device, op: impl Op + 'static) -> Result<Canvas> {
        let mut tape = Tape::default();
        let x = tape.input(PICTURE, self.shape);
        let y = tape.apply(op, &[x])?;
        let mut recorder = Recorder::new(device.tuning());
        let request = Request { keep: vec![y], ..Request::default() };
        let recorded = tape.record(&mut recorder, &request)?;
        let externals = Externals::from([(PICTURE.to_owned(), self.buffer.clone())]);
        let mut program = Program::prepare(device, "change of size", &recorder.finish(), &externals)?;
        program.run()?;
        Canvas::of(device, program.buffer(recorded.kept[0].buffer).clone(), tape.shape(y))
    }
}
