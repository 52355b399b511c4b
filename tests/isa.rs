//! What a GPU's compiler makes of every kernel, without a GPU: Mesa's RADV compiles for cards that are not there. No kernel may
//! spill registers, and none may lose of its share of multiplications against the tables in `benches/results/isa-*.md`, which
//! `benches/isa/run.sh` writes.
#![cfg(target_os = "linux")]

#[path = "../benches/isa/assembly.rs"]
mod assembly;
mod common;
#[path = "../benches/isa/radv.rs"]
mod radv;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::kernels::gpu_kernels;
use entoptic::device::{Kernel, Tile};

/// Cards by the names that the driver has for them, and what they are.
const CARDS: [(&str, &str); 4] = [
    ("navi21", "RX 6800 and 6900, RDNA 2"),
    ("navi31", "RX 7900, RDNA 3"),
    ("vega10", "RX Vega, GCN 5"),
    ("gfx1201", "RX 9070, RDNA 4"),
];

/// How much of a share may be lost before a test fails: one more instruction in a loop of two hundred.
const TOLERANCE: f64 = 0.5;

/// The columns of the tables.
const COLUMNS: &str = "| kernel | registers | spilled | waves | workgroup memory, bytes | code, bytes | FMA | slots | share, % | slots outside |\n\
                       |---|---|---|---|---|---|---|---|---|---|\n";

/// A kernel's name and what tells it from others of that name: its tile, and constants that change its code.
fn name(kernel: &Kernel) -> String {
    let number = |wanted: &str| kernel.numbers().iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let mut name = kernel.label();
    if let (Some(x), Some(y), Some(groups)) = (number("LANES_X"), number("LANES_Y"), number("GROUPS")) {
        let rows = number("PIXELS").or_else(|| Some(number("ROWS")? * 4)).expect("a tile has rows");
        let size = [y * rows, x * groups * 4].map(|size| size as usize);
        let tile = Tile::ALL.into_iter().find(|tile| tile.size() == size).expect("one of the tiles");
        let [rows, columns] = tile.size();
        name += &format!(" {rows}x{columns}");
    }
    if number("WRAPS").is_some_and(|wraps| wraps > 1) {
        name += ", few channels";
    }
    for (constant, value) in kernel.constants().filter(|(constant, _)| *constant != "WG") {
        name += &format!(", {} {value}", constant.to_lowercase());
    }
    name
}

/// One row of a table.
fn row(name: &str, compiled: &radv::Compiled) -> String {
    let of = |statistic: &str| compiled.statistics.get(statistic).copied().unwrap_or_default();
    let spilled = of("Spilled VGPRs") + of("Spilled SGPRs") + of("Scratch size");
    let loops = compiled.texts.get("Assembly").and_then(|text| assembly::read(text));
    let sums = loops.map_or_else(
        || "- | - | - | -".to_owned(),
        |kernel| {
            let (inner, outside) = (kernel.inner, kernel.outside);
            format!("{} | {} | {:.1} | {}", inner.fma, inner.slots, 100.0 * kernel.share(), outside.slots)
        },
    );
    let [registers, waves, memory, code] = ["VGPRs", "Subgroups per SIMD", "LDS size", "Code size"].map(of);
    format!("| {name} | {registers} | {spilled} | {waves} | {memory} | {code} | {sums} |")
}

#[test]
fn a_loop_is_read_as_it_is_disassembled_and_as_the_compiler_prints_it() {
    let disassembled = "BB0:\n\tv_mul_lo_u32 v1, v2, v3   ; d5690001\n\ts_mov_b32 s0, 0\nBB1:\n\tv_fmac_f32_e32 v0, v1, v2 ; 5600\n\t\
                        v_dual_fmac_f32 v3, v4, v5 :: v_dual_mov_b32 v6, v7\n\tv_min_u32_e32 v1, 7, v1\nBB2:\n\t\
                        s_cbranch_scc1 BB1 ; bf85\nBB3:\n\tv_fma_f32 v0, v1, v2, v3\n\ts_endpgm\n";
    let printed = "After lowering to hw instructions:\nBB0\n/* logical preds: / linear preds: / kind: uniform, */\n\t \
                   v1: %2:v[1] = v_mul_lo_u32 %3:v[2], %4:v[3]\nBB1\n\t v1: %5:v[0] = v_fmac_f32 %6:v[1], %7:v[2], %5:v[0]\n\t \
                   v1: %8:v[3] = v_fmac_f32 %6:v[4], %7:v[5], %8:v[3]\n\t v1: %9:v[6] = v_mov_b32 %1:v[7]\n\t v1: %9:v[1] = \
                   v_min_u32 7, %9:v[1]\nBB2\n\ts_cbranch_scc1 block:BB1\nBB3\n\t v1: %5:v[0] = v_fma_f32 %5:v[0], 1.0, 2.0\n";
    for text in [disassembled, printed] {
        let kernel = assembly::read(text).expect("a loop");
        assert_eq!((kernel.inner.fma, kernel.inner.slots), (2, 4), "{text}");
        assert_eq!((kernel.outside.fma, kernel.outside.slots), (1, 5), "{text}");
    }
    assert_eq!(assembly::read("BB0:\n\tv_fma_f32 v0, v1, v2, v3\n"), None);
}

/// Runs in a process of its own, for a driver asks the environment once which card it is for.
#[test]
#[ignore = "the other test runs it in a process of its own, with a card in the environment"]
fn one_card_compiles() {
    let card = match radv::Card::open() {
        Ok(card) => card,
        Err(reason) => return println!("\nNO CARD {reason}"),
    };
    println!("\nDRIVER {}", card.driver);
    for kernel in gpu_kernels() {
        let constants: Vec<(String, f64)> = kernel.constants().map(|(name, value)| (name.to_owned(), value)).collect();
        let lowered = radv::lower(&kernel.text(), kernel.entry, &constants);
        let name = name(&kernel);
        let compiled = card.compile(&lowered).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{}", row(&name, &compiled));
    }
}

/// A manifest of RADV: one that the environment names, or one that is installed.
fn manifest() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENTOPTIC_RADV") {
        return Some(path.into());
    }
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found: Vec<PathBuf> = files.map(|file| file.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("radeon_icd")));
    found.sort();
    found.pop()
}

/// Says what is not tested, past what captures the output of a test that passes.
fn aloud(what: &str) {
    writeln!(std::io::stderr(), "NOT TESTED: {what}").expect("someone listens");
}

/// The driver's name and a row for each kernel; or why there are none.
fn compiled_for(card: &str, manifest: &Path) -> Result<(String, Vec<String>), String> {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["one_card_compiles", "--exact", "--ignored", "--nocapture"])
        .env("VK_DRIVER_FILES", manifest)
        .env("VK_ICD_FILENAMES", manifest)
        .env("RADV_FORCE_FAMILY", card)
        .env("AMD_FORCE_FAMILY", card)
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .env_remove("VK_INSTANCE_LAYERS")
        .output()
        .expect("this program starts");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let Some(driver) = text.lines().find_map(|line| line.strip_prefix("DRIVER ")) else {
        let reason =
            text.lines().find_map(|line| line.strip_prefix("NO CARD ")).unwrap_or("this driver knows no such card");
        return Err(reason.to_owned());
    };
    assert!(child.status.success(), "{card}: {text}{}", String::from_utf8_lossy(&child.stderr));
    let rows = text.lines().filter(|line| line.starts_with("| "));
    Ok((driver.to_owned(), rows.map(str::to_owned).collect()))
}

/// The file of a driver: that of its version without what a distribution adds.
fn file(driver: &str) -> PathBuf {
    let words = driver.split_whitespace().skip_while(|word| *word != "Mesa").nth(1);
    let version = words.expect("the driver says its version").split('-').next().unwrap_or_default();
    let short: Vec<&str> = version.split('.').take(2).collect();
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/results/isa-mesa{}.md", short.join(".")))
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn kernels_do_not_spill_and_keep_their_share_of_multiplications() {
    let Some(manifest) = manifest() else {
        return aloud("what RADV makes of the kernels; it is not installed");
    };
    let mut tables: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (card, about) in CARDS {
        let (driver, rows) = match compiled_for(card, &manifest) {
            Ok(compiled) => compiled,
            Err(reason) => {
                aloud(&format!("what RADV makes of the kernels for {card}: {reason}"));
                continue;
            }
        };
        assert!(rows.len() > 50, "{card}: {} kernels", rows.len());
        for row in &rows {
            assert_eq!(cells(row)[2], "0", "{card} spills: {row}");
        }
        let file = file(&driver);
        if std::env::var_os("ENTOPTIC_ISA_TABLES").is_some() {
            let table = tables.entry(file).or_insert_with(|| head(&driver));
            *table += &format!("\n## {card}\n\n{about}.\n\n{COLUMNS}{}\n", rows.join("\n"));
            continue;
        }
        let Ok(table) = std::fs::read_to_string(&file) else {
            aloud(&format!("shares of multiplications on {card}; there is no table of {driver}"));
            continue;
        };
        compare(card, &table, &rows);
    }
    for (file, table) in tables {
        std::fs::write(&file, table).expect("the table is written");
        println!("{}", file.display());
    }
}

fn head(driver: &str) -> String {
    format!(
        "# What the compiler of AMD's cards makes of the kernels\n\nDriver: {driver}, without a card; written by \
         `benches/isa/run.sh`. Slots are those of the vector unit in the smallest loop that has most multiplications with an \
         addition (FMA), where an instruction of a quarter of the rate takes four; share is FMA of slots, which is the most that \
         a kernel can reach of the peak. Waves are the driver's \"subgroups per SIMD\", which counts one of 64 lanes as two on \
         RDNA. Slots outside are all that lie before and behind the loop, of which a workgroup issues a part.\n"
    )
}

/// No kernel may have a lower share than the committed table says; one that is not there yet has none to lose.
fn compare(card: &str, table: &str, rows: &[String]) {
    let section = table.split("\n## ").find(|section| section.starts_with(&format!("{card}\n")));
    let section = section.unwrap_or_else(|| panic!("the table has no {card}; benches/isa/run.sh writes it"));
    let known: BTreeMap<&str, &str> =
        section.lines().filter(|line| line.starts_with("| ")).map(cells).map(|cells| (cells[0], cells[8])).collect();
    for row in rows {
        let (name, share) = (cells(row)[0], cells(row)[8]);
        let Some(before) = known.get(name) else {
            aloud(&format!("the share of {name} on {card}, which no table has; benches/isa/run.sh writes it"));
            continue;
        };
        if let (Ok(share), Ok(before)) = (share.parse::<f64>(), before.parse::<f64>()) {
            assert!(
                share >= before - TOLERANCE,
                "{card}: {name} multiplies in {share} % of its slots, {before} % before"
            );
        } else {
            assert_eq!(&share, before, "{card}: {name} has its sums in a loop or not");
        }
    }
}
