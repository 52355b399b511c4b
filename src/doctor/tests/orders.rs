//! Nothing depends on the order in which invocations run, nor on what workgroup memory held before.
//!
//! A software driver runs the invocations of a workgroup some lanes at a time, from the first to the last, up to the next
//! barrier; a GPU runs them as it likes. So a barrier that is missing may do no harm on the one and be wrong on the other. Here
//! every kernel runs with its invocations renamed, which is as if they ran in another order, and with workgroup memory full of
//! numbers that would show in any sum.

use super::*;

/// Invocations that a software driver runs as one, or a multiple of them.
const VECTOR: &str = "8u";

#[derive(Clone, Copy, Debug)]
enum Order {
    FirstToLast,
    LastToFirst,
    /// Neighbours run far from each other.
    Strided,
}

const ORDERS: [Order; 3] = [Order::FirstToLast, Order::LastToFirst, Order::Strided];

impl Order {
    /// The invocation that is run as the `ran`-th of `size`, in WGSL.
    fn lane(self, size: &str) -> String {
        match self {
            Order::FirstToLast => "ran".to_owned(),
            Order::LastToFirst => format!("{size} - 1u - ran"),
            Order::Strided => {
                format!("select(ran, (ran % {VECTOR}) * ({size} / {VECTOR}) + ran / {VECTOR}, {size} % {VECTOR} == 0u)")
            }
        }
    }
}

/// Whether invocations are lanes of one vector, which the hardware numbers: these kernels have no workgroup memory.
fn by_subgroups(shader: &Shader) -> bool {
    shader.text.contains("subgroupBroadcast")
}

/// The text of a shader with each entry's invocations in another order, and its workgroup memory full at first.
fn reordered(text: &str, order: Order) -> String {
    let arrays: Vec<(&str, &str)> = (text.split("var<workgroup> ").skip(1))
        .map(|rest| {
            let (name, rest) = rest.split_once(": array<vec4<f32>, ").expect("workgroup memory is an array of vec4");
            (name, rest.split_once(">;").expect("the array's length ends").0)
        })
        .collect();
    let mut entries = text.split("@compute @workgroup_size(");
    let mut out = entries.next().expect("a split has a first part").to_owned();
    for entry in entries {
        let (size, rest) = entry.split_once(')').expect("a size ends");
        let (head, body) = rest.split_once("{\n").expect("a function has a body");
        let renamed = head.replace("@builtin(local_invocation_index) lane", "@builtin(local_invocation_index) ran");
        assert!(renamed != head || size == "1", "an entry numbers its invocations in another way: {head}");
        out += &format!("@compute @workgroup_size({size}){renamed}{{\n");
        if renamed != head {
            let size = format!("u32({size})");
            for (name, length) in &arrays {
                out +=
                    &format!("for (var i = ran; i < u32({length}); i += {size}) {{ {name}[i] = vec4<f32>(1e30); }}\n");
            }
            if !arrays.is_empty() {
                out += "workgroupBarrier();\n";
            }
            out += &format!("let lane = {};\n", order.lane(&size));
        }
        out += body;
    }
    out
}

/// Examines an operation with another text of a shader, or all updates where no operation has that name.
fn examined_with(only: &str, shader: &'static Shader, text: String) -> Vec<Row> {
    let device = device();
    device.replace_shader(shader, text);
    let rows = examined(&device, only);
    if !rows.is_empty() {
        return rows;
    }
    let mut tally = Tally::default();
    updates::examine(&device, &mut tally).expect("shapes fit");
    tally.rows
}

#[test]
fn the_order_of_invocations_changes_no_bit() {
    let report = |device: &Device| examine(device, &Settings::default(), &mut |_| {}).expect("shapes fit");
    let usual = report(&device());
    for order in ORDERS {
        let device = device();
        for shader in shaders().filter(|shader| !by_subgroups(shader)) {
            device.replace_shader(shader, reordered(&expand(shader.text), order));
        }
        let report = report(&device);
        assert_eq!(report.verdict, Verdict::Right, "{order:?}: {:?}", wrong(&report.rows));
        assert_eq!(report.picture_digest, usual.picture_digest, "{order:?}");
    }
}

/// Shaders whose kernels sum up more than once, which the first barrier of a sum is for.
const SEVERAL_SUMS: [&str; 4] = ["batch_norm_train", "layer_norm", "project", "statistics_distance"];

#[test]
fn a_barrier_left_out_is_caught() {
    const BARRIER: &str = "workgroupBarrier();";
    for shader in shaders() {
        let text = expand(shader.text);
        let only = shader.name.trim_end_matches("_weight").trim_end_matches("_tiled");
        for (number, (at, _)) in text.match_indices(BARRIER).enumerate() {
            let without = format!("{}{}", &text[..at], &text[at + BARRIER.len()..]);
            // The order in which a software driver runs them anyway is the last that shows anything.
            let caught = ORDERS.iter().rev().any(|order| {
                let rows = examined_with(only, shader, reordered(&without, *order));
                !wrong(&rows).is_empty()
            });
            let between_sums = text[at..].starts_with("workgroupBarrier(); // an earlier sum");
            let needed = !between_sums || SEVERAL_SUMS.contains(&shader.name);
            assert_eq!(caught, needed, "barrier {number} of {}", shader.name);
        }
    }
}
