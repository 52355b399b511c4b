//! What recordings depend on besides shapes: the width of workgroups, and how large sums of products are cut into tiles.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What depends on the kind of adapter and must be known while recording.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Invocations in a workgroup of kernels without workgroup memory: a vector's width on a CPU, two warps on a GPU.
    pub workgroup: u32,
    /// Whether the lanes of a vector are 8 and can read each other's registers, on a CPU.
    pub subgroup: bool,
    /// How kernels that multiply matrices are chosen.
    pub tiling: Tiling,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { workgroup: 64, subgroup: false, tiling: Tiling::Always(Variant::Registers) }
    }
}

/// How kernels that multiply matrices are chosen.
#[derive(Clone, Debug)]
pub enum Tiling {
    /// This one, wherever it can be.
    Always(Variant),
    /// By a fixed rule from the shapes, for an adapter with so many processors.
    Table {
        /// Processors that work independently: streaming multiprocessors, compute units.
        units: u32,
    },
    /// By what was measured on this adapter.
    Measured(Arc<dyn Choices>),
}

/// Measured choices.
pub trait Choices: fmt::Debug + Send + Sync {
    /// The kernel for an entry point, `shader.entry`, and the sizes that its shader says.
    fn variant(&self, entry: &str, sizes: &[u32]) -> Variant;

    /// A name for all choices made so far, for people; the same choices have the same name.
    fn digest(&self) -> String;
}

/// As a picture's metadata say it: pictures made under one name, on one adapter, are the same.
impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tiling::Always(variant) => write!(f, "{variant}"),
            Tiling::Table { units } => write!(f, "table for {units} units"),
            Tiling::Measured(choices) => f.write_str(&choices.digest()),
        }
    }
}

/// A kernel that multiplies matrices: how it holds them, and in how many parts it takes each sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Registers alone.
    Registers,
    /// Tiles in workgroup memory; each sum in so many parts, which a second kernel adds up.
    Tiled(Tile, u32),
}

/// A part of a result that one workgroup computes, rows x columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// 32 x 32.
    T32x32,
    /// 64 x 64.
    T64x64,
    /// 128 x 64.
    T128x64,
    /// 128 x 128.
    T128x128,
}

impl Tile {
    /// All, small to large.
    pub const ALL: [Tile; 4] = [Tile::T32x32, Tile::T64x64, Tile::T128x64, Tile::T128x128];

    /// Rows and columns.
    pub fn size(self) -> [usize; 2] {
        let form = self.form();
        [form.lanes_y * form.rows, form.lanes_x * form.columns].map(|size| size as usize)
    }

    /// Whether a step of a sum over channels is loaded while the one before is summed. The largest tile has no registers left for it.
    pub fn loads_ahead(self) -> bool {
        self != Tile::T128x128
    }

    /// How a workgroup shares the tile out. All keep to 256 invocations and 16 KiB of workgroup memory.
    pub fn form(self) -> TileForm {
        let form = |lanes_x, lanes_y, rows, columns, summands| TileForm { lanes_x, lanes_y, rows, columns, summands };
        match self {
            Tile::T32x32 => form(8, 8, 4, 4, 16),
            Tile::T64x64 => form(16, 8, 8, 4, 16),
            Tile::T128x64 => form(16, 16, 8, 4, 16),
            Tile::T128x128 => form(16, 16, 8, 8, 8),
        }
    }
}

/// How a workgroup shares a tile out among its invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileForm {
    /// Invocations across the columns.
    pub lanes_x: u32,
    /// Invocations down the rows.
    pub lanes_y: u32,
    /// Rows of each invocation.
    pub rows: u32,
    /// Columns of each invocation.
    pub columns: u32,
    /// Summands that workgroup memory holds at a time.
    pub summands: u32,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Registers => f.write_str("registers"),
            Variant::Tiled(tile, splits) => {
                let [rows, columns] = tile.size();
                write!(f, "{rows}x{columns}")?;
                if *splits > 1 { write!(f, "/{splits}") } else { Ok(()) }
            }
        }
    }
}

/// Reads what [`Variant`] prints; anything else is an error without a word, for only files of measurements are read so.
impl FromStr for Variant {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "registers" {
            return Ok(Variant::Registers);
        }
        let (size, splits) = match text.split_once('/') {
            Some((size, splits)) => (size, splits.parse().map_err(|_| ())?),
            None => (text, 1),
        };
        let tile = Tile::ALL.into_iter().find(|&tile| Variant::Tiled(tile, 1).to_string() == size).ok_or(())?;
        let variant = Variant::Tiled(tile, splits);
        if splits > 0 && variant.to_string() == text { Ok(variant) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_read_as_they_are_printed() {
        for tile in Tile::ALL {
            for splits in [1, 2, 64] {
                let variant = Variant::Tiled(tile, splits);
                assert_eq!(variant.to_string().parse(), Ok(variant));
            }
        }
        assert_eq!(Variant::Tiled(Tile::T128x64, 8).to_string(), "128x64/8");
        assert_eq!("registers".parse(), Ok(Variant::Registers));
        for text in ["", "64x64/0", "64x64/1", "64x64/", "64x32", "64x64/-2", "64x64/02", "64x64 "] {
            let parsed: Result<Variant, ()> = text.parse();
            assert!(parsed.is_err(), "{text}");
        }
    }
}
