//! Sparse tensors: some values and their places, all else zero.

use super::entry::{Entry, Layout, Sparse};

/// A file of some bytes must not ask for all memory: an array with more elements than this must have one value in so many.
const SMALL: usize = 1 << 16;
const SPARSEST: usize = 1 << 10;

impl Sparse {
    /// All elements, row-major; `read` gives what the file has for a part.
    pub fn dense(
        &self,
        shape: &[usize],
        read: impl Fn(&Entry) -> Result<Vec<f32>, String>,
    ) -> Result<Vec<f32>, String> {
        let values = read(&self.values)?;
        let total = shape.iter().try_fold(1usize, |total, size| total.checked_mul(*size));
        let most = SMALL.max(values.len().saturating_mul(SPARSEST));
        let total = total.filter(|total| *total <= most);
        let total = total.ok_or_else(|| format!("is sparse, with {} values for a shape of {shape:?}", values.len()))?;
        let indices: Vec<Vec<f32>> = self.indices.iter().map(read).collect::<Result<_, _>>()?;
        let mut dense = vec![0.0; total];
        let wrong = || "its sparse indices are damaged; download it again".to_owned();
        for (place, value) in self.places(shape, &indices, values.len()).ok_or_else(wrong)?.into_iter().zip(values) {
            *dense.get_mut(place).ok_or_else(wrong)? += value;
        }
        Ok(dense)
    }

    /// Where each value goes.
    fn places(&self, shape: &[usize], indices: &[Vec<f32>], count: usize) -> Option<Vec<usize>> {
        let whole = |index: f32| (index >= 0.0 && index.fract() == 0.0).then_some(index as usize);
        let within = |index: f32, size: usize| whole(index).filter(|index| *index < size);
        match (self.layout, indices) {
            (Layout::Coordinates, [columns]) => {
                if columns.len() != count.checked_mul(shape.len())? {
                    return None;
                }
                let place = |value: usize| {
                    let mut dimensions = shape.iter().enumerate();
                    dimensions
                        .try_fold(0, |place, (k, size)| Some(place * size + within(columns[k * count + value], *size)?))
                };
                (0..count).map(place).collect()
            }
            (_, [starts, others]) => {
                let &[rows, columns] = shape else { return None };
                let (lines, length) = if self.layout == Layout::Rows { (rows, columns) } else { (columns, rows) };
                if starts.len() != lines + 1 || others.len() != count || whole(*starts.last()?)? != count {
                    return None;
                }
                let mut places = Vec::with_capacity(count);
                for (line, ends) in starts.windows(2).enumerate() {
                    for other in others.get(whole(ends[0])?..whole(ends[1])?)? {
                        let other = within(*other, length)?;
                        places.push(if self.layout == Layout::Rows {
                            line * columns + other
                        } else {
                            other * columns + line
                        });
                    }
                }
                (places.len() == count).then_some(places)
            }
            _ => None,
        }
    }
}
