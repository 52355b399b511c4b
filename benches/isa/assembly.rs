//! What a kernel's instructions say of its speed: how many of those that its innermost loop issues are multiplications with an
//! addition. A text of the driver is read: either as LLVM disassembles it, or as the driver's own compiler prints it.

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Multiplications with an addition.
    pub fma: u32,
    /// Slots of the vector unit: an instruction of a quarter of the rate takes four.
    pub slots: u32,
}

/// A kernel's loop of sums, which is the smallest loop with most multiplications, and what is issued once, outside of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// In the loop, once around.
    pub inner: Counts,
    /// Before and behind it.
    pub outside: Counts,
}

impl Kernel {
    /// The part of the vector unit's slots in the loop that the sums themselves take: no kernel gets nearer to the peak than that.
    pub fn share(&self) -> f64 {
        f64::from(self.inner.fma) / f64::from(self.inner.slots.max(1))
    }
}

/// A run of instructions without a branch to its middle.
struct Block {
    number: usize,
    counts: Counts,
    /// Blocks that it branches to.
    targets: Vec<usize>,
}

/// Instructions of a quarter of the rate, by how their names begin.
const SLOW: [&str; 9] =
    ["v_mul_lo_u32", "v_mul_hi_u32", "v_mul_hi_i32", "v_mad_u64_u32", "v_rcp", "v_rsq", "v_sqrt", "v_exp", "v_log"];

/// Reads a kernel; none if it multiplies nothing in a loop.
pub fn read(text: &str) -> Option<Kernel> {
    let blocks = blocks(text);
    let place = |number: usize| blocks.iter().position(|block| block.number == number);
    // Blocks lie in an order in which a loop's are together and its first one leads: a branch back closes a loop.
    let loops = blocks.iter().enumerate().flat_map(|(end, block)| {
        let starts = block.targets.iter().filter_map(|&target| place(target));
        starts.filter(move |&start| start <= end).map(move |start| start..end + 1)
    });
    let sum = |blocks: &[Block]| {
        blocks.iter().fold(Counts::default(), |sum, block| Counts {
            fma: sum.fma + block.counts.fma,
            slots: sum.slots + block.counts.slots,
        })
    };
    let inner = loops.max_by_key(|range| (sum(&blocks[range.clone()]).fma, std::cmp::Reverse(range.len())))?;
    let (all, inner) = (sum(&blocks), sum(&blocks[inner]));
    let outside = Counts { fma: all.fma - inner.fma, slots: all.slots - inner.slots };
    (inner.fma > 0).then_some(Kernel { inner, outside })
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default().trim();
        let header = line.strip_prefix("BB").map(|rest| rest.trim_end_matches(':').parse());
        if let Some(Ok(number)) = header {
            blocks.push(Block { number, counts: Counts::default(), targets: Vec::new() });
        } else if let Some(block) = blocks.last_mut() {
            // Both halves of what is issued at once.
            line.split("::").for_each(|half| block.issue(half.trim()));
        }
    }
    blocks
}

impl Block {
    fn issue(&mut self, instruction: &str) {
        // The compiler's own print has results on the left.
        let bare = instruction.rsplit(" = ").next().unwrap_or(instruction);
        let mut words = bare.split_whitespace();
        let name = words.next().unwrap_or_default();
        if name.starts_with("s_cbranch") || name == "s_branch" {
            let target = words.find_map(|word| word.rsplit("BB").next()?.parse::<usize>().ok());
            self.targets.extend(target);
        } else if let Some(rest) = name.strip_prefix("v_") {
            self.counts.slots += if SLOW.iter().any(|slow| name.starts_with(slow)) { 4 } else { 1 };
            let rest = rest.trim_start_matches("dual_").trim_start_matches("pk_");
            let fused = ["fma", "mac", "mad_f32"].iter().any(|fused| rest.starts_with(fused));
            self.counts.fma += u32::from(fused && rest.contains("f32"));
        }
    }
}
