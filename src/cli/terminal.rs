//! Pictures in a terminal: by the protocols of kitty and iTerm2, as sixels, or as coloured half-blocks.

use std::fmt::Write;
use std::io::IsTerminal;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use clap::ValueEnum;
use entoptic::picture;
use entoptic::tensor::Array;
use image::RgbImage;
use image::imageops::{self, FilterType};

#[derive(Clone, Copy, ValueEnum)]
pub enum ShowArg {
    /// As the terminal can; not at all where there is none
    Auto,
    /// kitty's graphics protocol
    Kitty,
    /// iTerm2's inline images
    Iterm2,
    /// Sixels
    Sixel,
    /// Half-blocks in colours
    Blocks,
    /// Not at all
    None,
}

/// How a terminal is given pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// kitty's graphics protocol.
    Kitty,
    /// iTerm2's inline images.
    Iterm2,
    /// Sixels in the palette of 256 colours.
    Sixel,
    /// Two pixels in each cell, in colours of 24 bits.
    Blocks,
    /// Two pixels in each cell, in the palette of 256 colours.
    PaletteBlocks,
}

/// Where pictures can be shown.
#[derive(Clone, Debug)]
pub struct Screen {
    way: Way,
    columns: usize,
    rows: usize,
}

/// Width of a cell where nothing tells it, in pixels.
const CELL: usize = 8;

/// Height of a cell, at least, in pixels.
const LOWEST_CELL: usize = 12;

/// Rows that a square picture takes at most.
const LARGEST: usize = 32;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Screen {
    /// Where standard output goes, if pictures can be shown there and the user does not mind.
    pub fn of_stdout(show: ShowArg) -> Option<Screen> {
        Screen::of(show, std::io::stdout().is_terminal(), environment)
    }

    /// Where standard error goes, if pictures can be shown there. Who asks for a preview minds neither it nor its colours.
    pub fn of_stderr(show: ShowArg) -> Option<Screen> {
        let variable = |name: &str| environment(name).filter(|_| name != "NO_COLOR");
        Screen::of(show, std::io::stderr().is_terminal(), variable)
    }

    fn of(show: ShowArg, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Option<Screen> {
        let way = match show {
            ShowArg::Auto if !terminal => None,
            ShowArg::Auto => detected(variable),
            ShowArg::Kitty => Some(Way::Kitty),
            ShowArg::Iterm2 => Some(Way::Iterm2),
            ShowArg::Sixel => Some(Way::Sixel),
            ShowArg::Blocks => Some(blocks(&variable)),
            ShowArg::None => None,
        };
        let (columns, rows) = terminal_size::terminal_size().map_or((80, 24), |(w, h)| (w.0.into(), h.0.into()));
        way.map(|way| Screen { way, columns, rows })
    }

    /// Whether small letters in a picture can be read.
    pub fn is_fine(&self) -> bool {
        !matches!(self.way, Way::Blocks | Way::PaletteBlocks)
    }

    /// What to print for a picture [1, 3, H, W] with values 0..1 to be seen, as large as fits; the cursor ends below it.
    pub fn draw(&self, picture: &Array) -> anyhow::Result<String> {
        let columns = self.width(picture);
        Ok(match self.way {
            Way::Kitty => kitty(&picture::encode_png(picture, &[])?, &format!("c={columns}")),
            Way::Iterm2 => iterm2(&picture::encode_png(picture, &[])?, &format!("width={columns}")),
            Way::Sixel => sixel(&scaled(picture, (columns * CELL).min(picture.shape.w()), 1)),
            Way::Blocks => half_blocks(&scaled(picture, columns, 2), |[r, g, b]| format!("2;{r};{g};{b}")),
            Way::PaletteBlocks => half_blocks(&scaled(picture, columns, 2), |rgb| format!("5;{}", nearest(rgb))),
        })
    }

    /// Rows of a square picture that leaves room for a few lines below it.
    pub fn square(&self) -> usize {
        self.rows.saturating_sub(3).min(self.columns / 2).clamp(1, LARGEST)
    }

    /// What to print for a picture [1, 3, H, W] to be seen in the square of so many rows, from where the cursor is; the cursor ends
    /// anywhere. Of those with one `id` a terminal keeps the last only.
    pub fn draw_square(&self, picture: &Array, rows: usize, id: u32) -> anyhow::Result<String> {
        let [_, _, h, w] = picture.shape.0;
        // A wide picture takes fewer rows, a high one fewer columns.
        let (down, across) = ((rows * h).div_ceil(h.max(w)), |whole: usize| (whole * w).div_ceil(h.max(w)));
        let text = match self.way {
            Way::Kitty => kitty(&picture::encode_png(picture, &[])?, &format!("r={down},i={id},C=1")),
            Way::Iterm2 => iterm2(&picture::encode_png(picture, &[])?, &format!("height={down}")),
            Way::Sixel => sixel(&scaled(picture, across(rows * LOWEST_CELL), 1)),
            Way::Blocks => half_blocks(&scaled(picture, across(2 * rows), 2), |[r, g, b]| format!("2;{r};{g};{b}")),
            Way::PaletteBlocks => {
                half_blocks(&scaled(picture, across(2 * rows), 2), |rgb| format!("5;{}", nearest(rgb)))
            }
        };
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Cells across: all there are, unless the picture would not fit above the prompt or is not so large.
    fn width(&self, picture: &Array) -> usize {
        let [_, _, h, w] = picture.shape.0;
        // A cell is about twice as high as wide.
        let fitting = 2 * self.rows.saturating_sub(1).max(1) * w / h.max(1);
        let detail = if self.is_fine() { w.div_ceil(CELL) } else { w };
        self.columns.min(fitting).min(detail).max(1)
    }
}

/// What the environment tells of the terminal; none where it understands no more than text, or the user wants no colours.
fn detected(variable: impl Fn(&str) -> Option<String>) -> Option<Way> {
    let is = |name: &str, values: &[&str]| variable(name).is_some_and(|value| values.contains(&value.as_str()));
    let has = |name: &str| variable(name).is_some();
    let term = variable("TERM");
    if has("NO_COLOR") || is("TERM", &["dumb"]) || (term.is_none() && !has("WT_SESSION")) {
        return None;
    }
    let term = term.unwrap_or_default();
    // A multiplexer keeps the outer terminal's variables but passes nothing that it does not know.
    if has("TMUX") || has("STY") || term.starts_with("screen") || term.starts_with("tmux") {
        return Some(blocks(&variable));
    }
    if has("KITTY_WINDOW_ID") || term.contains("kitty") || term.contains("ghostty") || is("TERM_PROGRAM", &["ghostty"])
    {
        return Some(Way::Kitty);
    }
    if is("TERM_PROGRAM", &["iTerm.app", "WezTerm", "mintty"]) || is("LC_TERMINAL", &["iTerm2"]) {
        return Some(Way::Iterm2);
    }
    if ["foot", "mlterm", "contour"].iter().any(|known| term.starts_with(known)) || term.contains("sixel") {
        return Some(Way::Sixel);
    }
    Some(blocks(&variable))
}

fn blocks(variable: &impl Fn(&str) -> Option<String>) -> Way {
    let all_colours = variable("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit");
    let windows = variable("WT_SESSION").is_some();
    if all_colours || windows { Way::Blocks } else { Way::PaletteBlocks }
}

/// The picture in bytes, `width` pixels wide and a multiple of `lines` high.
fn scaled(picture: &Array, width: usize, lines: usize) -> RgbImage {
    let [_, _, h, w] = picture.shape.0;
    let byte = |at: usize| (picture.values[at].clamp(0.0, 1.0) * 255.0).round() as u8;
    let full = RgbImage::from_fn(w as u32, h as u32, |x, y| {
        let at = y as usize * w + x as usize;
        image::Rgb([0, 1, 2].map(|c| byte(c * h * w + at)))
    });
    let height = (h * width).div_ceil(w * lines) * lines;
    if (height, width) == (h, w) {
        return full;
    }
    imageops::resize(&full, width as u32, height as u32, FilterType::Triangle)
}

/// Transmit and display (a=T) a PNG (f=100), with columns (c) or rows (r) as said, without an answer (q=2), in parts of 4096
/// letters.
fn kitty(png: &[u8], place: &str) -> String {
    let text = BASE64.encode(png);
    let parts = text.len().div_ceil(4096);
    let mut all = String::new();
    for (index, part) in text.as_bytes().chunks(4096).enumerate() {
        let first = if index == 0 { format!("a=T,f=100,{place},q=2,") } else { String::new() };
        let more = u8::from(index + 1 < parts);
        let part = std::str::from_utf8(part).expect("base64 is ASCII");
        let _ = write!(all, "\x1b_G{first}m={more};{part}\x1b\\");
    }
    all + "\n"
}

fn iterm2(png: &[u8], place: &str) -> String {
    let size = png.len();
    format!("\x1b]1337;File=inline=1;size={size};{place};preserveAspectRatio=1:{}\x07\n", BASE64.encode(png))
}

/// DEC's sixels: bands of six lines, in each one pass for every colour in it. The errors of the palette go to the pixels
/// around (Floyd and Steinberg).
fn sixel(image: &RgbImage) -> String {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let colours = dithered(image);
    let mut text = format!("\x1bP0;1q\"1;1;{w};{h}");
    let mut used: Vec<u8> = colours.clone();
    used.sort_unstable();
    used.dedup();
    for &colour in &used {
        let [r, g, b] = palette(colour).map(|value| (u32::from(value) * 100 + 127) / 255);
        let _ = write!(text, "#{colour};2;{r};{g};{b}");
    }
    for band in colours.chunks(6 * w) {
        for colour in used.iter().filter(|colour| band.contains(colour)) {
            let _ = write!(text, "#{colour}");
            let bits = |x: usize| -> u8 {
                let lines = band.chunks(w).enumerate().filter(|(_, line)| line[x] == *colour);
                lines.map(|(y, _)| 1 << y).sum()
            };
            let column: Vec<u8> = (0..w).map(bits).collect();
            for run in column.chunk_by(|a, b| a == b) {
                let letter = char::from(63 + run[0]);
                match run.len() {
                    1..=3 => text.extend(std::iter::repeat_n(letter, run.len())),
                    count => _ = write!(text, "!{count}{letter}"),
                }
            }
            text.push('$');
        }
        text.push('-');
    }
    text + "\x1b\\\n"
}

/// Upper half-blocks: the letter in the colour of the upper pixel, its ground in that of the lower.
fn half_blocks(image: &RgbImage, colour: impl Fn([u8; 3]) -> String) -> String {
    let mut text = String::new();
    for y in (0..image.height()).step_by(2) {
        let mut last = None;
        for x in 0..image.width() {
            let pair = [y, y + 1].map(|y| image.get_pixel(x, y).0);
            if last.replace(pair) != Some(pair) {
                let _ = write!(text, "\x1b[38;{};48;{}m", colour(pair[0]), colour(pair[1]));
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// Steps of the colour cube in the palette of 256 colours.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// A colour of the palette, 16 to 255: a cube of 6 x 6 x 6, then 24 greys. What the first 16 look like is up to the user.
fn palette(colour: u8) -> [u8; 3] {
    match colour {
        232.. => [8 + 10 * (colour - 232); 3],
        _ => [36, 6, 1].map(|step| CUBE[usize::from(colour.saturating_sub(16) / step % 6)]),
    }
}

/// The nearest colour of the palette.
fn nearest(rgb: [u8; 3]) -> u8 {
    let apart = |colour: u8| -> i32 {
        palette(colour).iter().zip(rgb).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum()
    };
    let near = |value: u8| (0..6).min_by_key(|&step: &u8| CUBE[usize::from(step)].abs_diff(value)).unwrap_or(0);
    let [r, g, b] = rgb.map(near);
    let mean = rgb.iter().map(|&value| u32::from(value)).sum::<u32>() / 3;
    let grey = 232 + (mean.saturating_sub(3) / 10).min(23) as u8;
    [16 + 36 * r + 6 * g + b, grey].into_iter().min_by_key(|&colour| apart(colour)).unwrap_or(16)
}

/// Colours of the palette, line by line.
fn dithered(image: &RgbImage) -> Vec<u8> {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let mut values: Vec<[f32; 3]> = image.pixels().map(|pixel| pixel.0.map(f32::from)).collect();
    let mut colours = Vec::with_capacity(w * h);
    for at in 0..w * h {
        let wanted = values[at];
        let colour = nearest(wanted.map(|value| value.round().clamp(0.0, 255.0) as u8));
        colours.push(colour);
        let (x, got) = (at % w, palette(colour));
        let mut give = |there: bool, to: usize, share: f32| {
            if there && to < w * h {
                for c in 0..3 {
                    values[to][c] += (wanted[c] - f32::from(got[c])) * share / 16.0;
                }
            }
        };
        give(x + 1 < w, at + 1, 7.0);
        give(x > 0, at + w - 1, 3.0);
        give(true, at + w, 5.0);
        give(x + 1 < w, at + w + 1, 1.0);
    }
    colours
}

#[cfg(test)]
mod tests {
    use super::*;
    use entoptic::tensor::Shape;

    fn image(w: u32, pixels: &[[u8; 3]]) -> RgbImage {
        RgbImage::from_raw(w, pixels.len() as u32 / w, pixels.concat()).unwrap()
    }

    fn screen(way: Way, columns: usize, rows: usize) -> Screen {
        Screen { way, columns, rows }
    }

    #[test]
    fn kitty_gets_parts_of_4096_letters() {
        assert_eq!(kitty(b"foo", "c=80"), "\x1b_Ga=T,f=100,c=80,q=2,m=0;Zm9v\x1b\\\n");
        let text = kitty(&[0; 6145], "c=5");
        let parts: Vec<&str> = text.trim_end().split_terminator("\x1b\\").collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], format!("\x1b_Ga=T,f=100,c=5,q=2,m=1;{}", "A".repeat(4096)));
        assert_eq!(parts[1], format!("\x1b_Gm=1;{}", "A".repeat(4096)));
        assert_eq!(parts[2], "\x1b_Gm=0;AA==");
    }

    #[test]
    fn iterm2_gets_one_line() {
        assert_eq!(
            iterm2(b"foo", "width=7"),
            "\x1b]1337;File=inline=1;size=3;width=7;preserveAspectRatio=1:Zm9v\x07\n"
        );
    }

    #[test]
    fn half_blocks_have_the_upper_pixel_before_the_lower() {
        let two = image(2, &[[1, 2, 3], [1, 2, 3], [255, 0, 0], [255, 0, 0]]);
        let text = half_blocks(&two, |[r, g, b]| format!("2;{r};{g};{b}"));
        assert_eq!(text, "\x1b[38;2;1;2;3;48;2;255;0;0m▀▀\x1b[0m\n");
        let text = half_blocks(&two, |rgb| format!("5;{}", nearest(rgb)));
        assert_eq!(text, "\x1b[38;5;16;48;5;196m▀▀\x1b[0m\n");
    }

    /// Worked out by hand: one column of red, one of blue, then seven lines of them.
    #[test]
    fn sixels_are_bands_of_six_lines_by_colour() {
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        let text = sixel(&image(5, &[red, blue, blue, blue, blue].repeat(7)));
        let head = "\x1bP0;1q\"1;1;5;7#21;2;0;0;100#196;2;100;0;0";
        assert_eq!(text, format!("{head}#21?!4~$#196~!4?$-#21?!4@$#196@!4?$-\x1b\\\n"));
    }

    #[test]
    fn the_palette_is_that_of_xterm() {
        assert_eq!([16, 21, 196, 231].map(palette), [[0, 0, 0], [0, 0, 255], [255, 0, 0], [255, 255, 255]]);
        assert_eq!([67, 232, 255].map(palette), [[95, 135, 175], [8, 8, 8], [238, 238, 238]]);
        for colour in 16..=255 {
            assert_eq!(palette(nearest(palette(colour))), palette(colour), "{colour}");
        }
        assert_eq!(nearest([100, 130, 170]), 67);
        assert_eq!(nearest([18, 18, 19]), 233);
    }

    #[test]
    fn dithering_keeps_the_mean() {
        let colours = dithered(&image(64, &[[115, 60, 230]; 64 * 64]));
        for (c, wanted) in [115.0, 60.0, 230.0].into_iter().enumerate() {
            let mean = colours.iter().map(|&colour| f64::from(palette(colour)[c])).sum::<f64>() / (64.0 * 64.0);
            assert!((mean - wanted).abs() < 2.0, "{c}: {mean}");
        }
    }

    #[test]
    fn pictures_fit_the_window_and_are_not_blown_up() {
        let picture = Array::filled(Shape::new(1, 3, 300, 600), 0.5);
        assert_eq!(screen(Way::Kitty, 60, 100).width(&picture), 60);
        assert_eq!(screen(Way::Kitty, 200, 100).width(&picture), 75);
        assert_eq!(screen(Way::Blocks, 200, 100).width(&picture), 200);
        assert_eq!(screen(Way::Blocks, 200, 11).width(&picture), 40);
        assert_eq!(screen(Way::Blocks, 0, 0).width(&picture), 1);
        let lines = screen(Way::Blocks, 40, 100).draw(&picture).unwrap();
        assert_eq!(lines.lines().map(|line| line.matches('▀').count()).collect::<Vec<_>>(), [40; 10]);
        assert!(screen(Way::Sixel, 40, 100).draw(&picture).unwrap().starts_with("\x1bP0;1q\"1;1;320;160#"));
        assert!(
            screen(Way::Kitty, 40, 100).draw(&picture).unwrap().starts_with("\x1b_Ga=T,f=100,c=40,q=2,m=0;iVBORw0KGgo")
        );
    }

    #[test]
    fn square_pictures_take_the_rows_that_they_are_given() {
        assert_eq!(
            [(80, 24), (30, 24), (200, 100), (0, 0)].map(|(w, h)| screen(Way::Blocks, w, h).square()),
            [21, 15, 32, 1]
        );
        let picture = Array::filled(Shape::new(1, 3, 9, 9), 0.5);
        let draw = |way| screen(way, 80, 24).draw_square(&picture, 5, 7).unwrap();
        let blocks = draw(Way::PaletteBlocks);
        assert_eq!(blocks.split('\n').map(|line| line.matches('▀').count()).collect::<Vec<_>>(), [10; 5]);
        assert!(draw(Way::Kitty).starts_with("\x1b_Ga=T,f=100,r=5,i=7,C=1,q=2,m=0;"));
        assert!(draw(Way::Iterm2).contains(";height=5;preserveAspectRatio=1:"));
        assert!(draw(Way::Sixel).starts_with("\x1bP0;1q\"1;1;60;60#"));
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        let found = |variables: &[(&str, &str)]| {
            detected(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("TERM", "dumb"), ("COLORTERM", "truecolor")]), None);
        assert_eq!(found(&[("TERM", "xterm-kitty"), ("NO_COLOR", "1")]), None);
        assert_eq!(found(&[("TERM", "xterm-kitty")]), Some(Way::Kitty));
        assert_eq!(found(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "ghostty")]), Some(Way::Kitty));
        assert_eq!(found(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]), Some(Way::Iterm2));
        assert_eq!(found(&[("TERM", "foot")]), Some(Way::Sixel));
        assert_eq!(found(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Some(Way::Blocks));
        assert_eq!(found(&[("TERM", "xterm-256color")]), Some(Way::PaletteBlocks));
        assert_eq!(found(&[("WT_SESSION", "1")]), Some(Way::Blocks));
        let inside = [("TERM", "tmux-256color"), ("TMUX", "/tmp/tmux"), ("KITTY_WINDOW_ID", "1")];
        assert_eq!(found(&inside), Some(Way::PaletteBlocks));
    }
}
