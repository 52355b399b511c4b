//! A picture beside what networks make of it.

use super::letters::{BLACK, HEIGHT, fill, paste, width, write};
use crate::picture;
use crate::tensor::{Array, Shape};

/// Rows of a plot: so many classes, at most.
pub const ROWS: usize = 10;

/// Letters of a class name that are shown, at most.
const LETTERS: usize = 16;

/// From one row to the next, around a plot, and from the least to the greatest logit, in pixels.
const LINE: usize = HEIGHT + 1;
const GAP: usize = 6;
const BAR: usize = 110;

/// Room for a number, as wide as the widest that is written.
const NUMBER: &str = "-100.0";

const RED: [f32; 3] = [0.85, 0.1, 0.1];
const GREY: [f32; 3] = [0.5, 0.55, 0.65];
const AXIS: [f32; 3] = [0.7; 3];

/// What a network makes of a picture.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// Above it: the network's name.
    pub title: &'a str,
    /// All classes.
    pub names: &'a [&'a str],
    /// A number for each.
    pub logits: &'a [f32],
    /// Positions of the classes that are drawn in red, and always.
    pub targets: &'a [usize],
    /// The values that the bars' ends stand for; zero is between them.
    pub range: [f32; 2],
}

impl Plot<'_> {
    /// The classes that are drawn, top to bottom: all in their order, or where there are more than [`ROWS`] the largest, largest
    /// first, and the targets.
    fn rows(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.logits.len()).collect();
        if rows.len() > ROWS {
            rows.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
            let (wanted, others): (Vec<usize>, Vec<usize>) =
                rows.iter().copied().partition(|row| self.targets.contains(row));
            let shown: Vec<usize> = wanted.into_iter().chain(others).take(ROWS).collect();
            rows.retain(|row| shown.contains(row));
        }
        rows
    }

    fn letters(&self) -> usize {
        self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(LETTERS)
    }

    /// Of the whole plot, the same whatever the logits are.
    fn width(&self) -> usize {
        self.bars() + BAR + GAP + width(NUMBER) + GAP
    }

    /// Where bars may begin, from the plot's left.
    fn bars(&self) -> usize {
        2 * GAP + width("m") * self.letters()
    }

    fn draw(&self, page: &mut Array, left: usize) {
        write(page, self.title, (GAP, left + self.bars()), self.width() - self.bars(), BLACK);
        let [low, high] = self.range;
        let place = |value: f32| {
            let share = ((value - low) / (high - low).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
            left + self.bars() + (share * BAR as f32).round() as usize
        };
        let rows = self.rows();
        for (row, &class) in rows.iter().enumerate() {
            let top = GAP + (row + 1) * LINE;
            let ink = if self.targets.contains(&class) { RED } else { BLACK };
            let name: String = self.names[class].chars().take(LETTERS).collect();
            let room = width("m") * self.letters();
            write(page, &name, (top, left + GAP + room - width(&name)), room, ink);
            let (zero, end) = (place(0.0), place(self.logits[class]));
            let colour = if self.targets.contains(&class) { RED } else { GREY };
            fill(page, top + 3..top + LINE - 3, zero.min(end)..zero.max(end), colour);
            // A zero has no sign.
            let number = format!("{:.1}", (self.logits[class] * 10.0).round() / 10.0 + 0.0);
            write(page, &number, (top, left + self.bars() + BAR + GAP), width(NUMBER), ink);
        }
        fill(page, GAP + LINE..GAP + (rows.len() + 1) * LINE, place(0.0)..place(0.0) + 1, AXIS);
    }
}

/// A picture with plots at its right, on white. A picture lower than the plots is magnified to their height.
///
/// **Shapes** [1, 3, S, S] -> [1, 3, H, W], the same for all pictures of one size beside plots of the same networks.
pub fn beside(picture: &Array, plots: &[Plot]) -> Array {
    let rows = plots.iter().map(|plot| plot.logits.len().min(ROWS)).max().unwrap_or(0);
    let height = picture.shape.h().max(2 * GAP + (rows + 1) * LINE);
    let [_, _, h, w] = picture.shape.0;
    let shown = if h < height { &picture::resize(picture, [height, (w * height).div_ceil(h)]) } else { picture };
    let right = shown.shape.w() + plots.iter().map(Plot::width).sum::<usize>();
    let mut page = Array::filled(Shape::new(1, 3, height, right), 1.0);
    paste(&mut page, shown, (0, 0));
    let mut left = shown.shape.w();
    for plot in plots {
        plot.draw(&mut page, left);
        left += plot.width();
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["tench", "church", "a name with more than sixteen letters"];

    fn plot<'a>(logits: &'a [f32], targets: &'a [usize]) -> Plot<'a> {
        Plot { title: "resnet50", names: &NAMES, logits, targets, range: [-10.0, 10.0] }
    }

    /// Columns of a row of the plot that have a colour, in the middle of its bar.
    fn coloured(page: &Array, row: usize, colour: [f32; 3]) -> Vec<usize> {
        let [_, _, h, w] = page.shape.0;
        let y = GAP + (row + 1) * LINE + LINE / 2;
        let pixel = |x: usize| [0, 1, 2].map(|c| page.values[(c * h + y) * w + x]);
        (0..w).filter(|&x| pixel(x) == colour).collect()
    }

    #[test]
    fn bars_begin_at_zero_and_end_at_the_logits() {
        let picture = Array::filled(Shape::new(1, 3, 100, 100), 0.25);
        let page = beside(&picture, &[plot(&[5.0, -10.0, 0.0], &[1])]);
        let zero = 100 + 2 * GAP + width("m") * LETTERS + BAR / 2;
        assert_eq!(page.shape.h(), 100);
        // The axis covers the first column to the right of zero.
        assert_eq!(coloured(&page, 0, GREY), (zero + 1..zero + 28).collect::<Vec<_>>());
        let red = coloured(&page, 1, RED);
        assert!((zero - BAR / 2..zero).all(|x| red.contains(&x)) && !red.contains(&(zero + 1)), "{red:?}");
        assert!(coloured(&page, 2, GREY).is_empty());
        assert!(coloured(&page, 2, RED).is_empty());
    }

    #[test]
    fn the_page_is_as_wide_whatever_the_logits_are() {
        let picture = Array::filled(Shape::new(1, 3, 20, 20), 0.25);
        let small = beside(&picture, &[plot(&[0.0; 3], &[])]);
        let height = 2 * GAP + 4 * LINE;
        assert_eq!(small.shape.h(), height, "low pictures are magnified");
        assert_eq!(small.values[height * small.shape.w() - 1], 1.0);
        assert_eq!(small.values[height - 1], 0.25, "to the full height");
        assert_eq!(small.shape, beside(&picture, &[plot(&[-1234.0, 9999.0, 1.0], &[0])]).shape);
        let two = beside(&picture, &[plot(&[0.0; 3], &[]), plot(&[0.0; 3], &[])]);
        assert_eq!(two.shape.w() - small.shape.w(), small.shape.w() - height);
    }

    #[test]
    fn of_many_classes_the_largest_are_drawn_and_the_target() {
        let logits: Vec<f32> =
            (0..20).map(|class| if class % 2 == 0 { class as f32 } else { -1.0 - class as f32 }).collect();
        let names = vec!["x"; 20];
        let plot = Plot { title: "", names: &names, logits: &logits, targets: &[7], range: [0.0, 20.0] };
        assert_eq!(plot.rows(), [18, 16, 14, 12, 10, 8, 6, 4, 2, 7]);
        assert_eq!(Plot { targets: &[16], ..plot }.rows(), [18, 16, 14, 12, 10, 8, 6, 4, 2, 0]);
    }
}
