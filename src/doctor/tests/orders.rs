//! Nothing depends on the order in which invocations run, nor on what workgroup memory held before.
//!
//! A software driver runs the invocations of a workgroup some lanes at a time, from the first to the last, up to the next
//! barrier; a GPU runs them as it likes. So a barrier that is missing may do no harm on the one and be wrong on the other. Here
//! every kernel runs with its invocations renamed, which is as if they ran in another order, and with workgroup memory full of
//! numbers that would show in any sum.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use naga::front::wgsl;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, Handle, Module, StructMember, Type, TypeInner};

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

/// Statements that write a number which would show in any sum into every vector of a place in workgroup memory.
fn filling(module: &Module, place: &str, of: Handle<Type>, depth: usize) -> String {
    match &module.types[of].inner {
        TypeInner::Vector { .. } => format!("{place} = vec4<f32>(1e30);\n"),
        TypeInner::Array { base, size: ArraySize::Constant(length), .. } => {
            let index = format!("i{depth}");
            let inner = filling(module, &format!("{place}[{index}]"), *base, depth + 1);
            format!("for (var {index} = 0u; {index} < {length}u; {index}++) {{\n{inner}}}\n")
        }
        TypeInner::Struct { members, .. } => {
            let name =
                |member: &StructMember| format!("{place}.{}", member.name.as_deref().expect("a member has a name"));
            members.iter().map(|member| filling(module, &name(member), member.ty, depth)).collect()
        }
        other => panic!("{place} in workgroup memory is made of other things than vec4: {other:?}"),
    }
}

/// The text of a shader with each entry's invocations in another order, and its workgroup memory full at first.
fn reordered(text: &str, order: Order) -> String {
    let module = wgsl::parse_str(text).expect("a text that parses");
    let shared = module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::WorkGroup);
    let filling: String = shared
        .map(|(_, global)| filling(&module, global.name.as_deref().expect("a variable has a name"), global.ty, 0))
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
            if !filling.is_empty() {
                out += &format!("if (ran == 0u) {{\n{filling}}}\nworkgroupBarrier();\n");
            }
            out += &format!("let lane = {};\n", order.lane(&size));
        }
        out += body;
    }
    out
}

/// Kernels of a shader that have workgroup memory, without which no barrier is needed.
fn sharing(shader: &Shader) -> Vec<String> {
    let module = wgsl::parse_str(&shader.written(&[])).expect("a text that parses");
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).expect("a valid text");
    let shared = |(index, _): &(usize, &naga::EntryPoint)| {
        let uses = info.get_entry_point(*index);
        (module.global_variables.iter())
            .any(|(handle, global)| global.space == AddressSpace::WorkGroup && !uses[handle].is_empty())
    };
    let entries = module.entry_points.iter().enumerate().filter(shared);
    entries.map(|(_, entry)| format!("{}.{}", shader.name, entry.name)).collect()
}

/// Cases of the operations whose names begin with a word, each with the kernels that it launches.
struct Reached {
    cases: Vec<(usize, Case, BTreeSet<String>)>,
}

impl Reached {
    fn of(only: &str) -> Reached {
        let device = device();
        let samples = cases::of_samples().expect("shapes fit").into_iter().enumerate();
        let awkward = cases::awkward(&device).expect("shapes fit").into_iter().enumerate();
        let cases = samples.chain(awkward).filter(|(_, case)| case.op.name().starts_with(only));
        let with_kernels = cases.map(|(number, case)| {
            let mut tally = Tally::default();
            kernels::examine(&device, &case, number, false, &mut tally).expect("shapes fit");
            (number, case, tally.launched)
        });
        Reached { cases: with_kernels.collect() }
    }

    /// Whether something is wrong with another text of a shader: at an operation, or at an update where no operation has that name.
    fn caught_with(&self, shader: &'static Shader, rewrite: impl Fn(&str) -> String + Send + Sync + 'static) -> bool {
        let device = device();
        device.rewrite_shader(shader, rewrite);
        if self.cases.is_empty() {
            let mut tally = Tally::default();
            updates::examine(&device, &mut tally).expect("shapes fit");
            return !wrong(&tally.rows).is_empty();
        }
        let kernels = sharing(shader);
        let mut cases = self.cases.iter().filter(|(_, _, launched)| kernels.iter().any(|name| launched.contains(name)));
        // The first that is wrong is enough.
        cases.any(|(number, case, _)| {
            let rows = examine_case(&device, case, *number);
            rows.is_err() || rows.is_ok_and(|rows| !wrong(&rows).is_empty())
        })
    }
}

/// Rows of all kernels, and the digest of the short run's picture. Layers of real networks would show no kernel that these do not,
/// and take most of the time.
fn everything(device: &Device) -> (Vec<Row>, String) {
    let (settings, mut tally, mut run) = (Settings::default(), Tally::default(), networks::Run::default());
    for cases in [cases::of_samples(), cases::awkward(device)] {
        run_cases(device, cases.expect("shapes fit"), &settings, &mut tally).expect("shapes fit");
    }
    updates::examine(device, &mut tally).expect("shapes fit");
    uncovered(device, &mut tally);
    networks::examine(device, &mut tally, &mut run).expect("shapes fit");
    (tally.rows, run.digest())
}

#[test]
fn the_order_of_invocations_changes_no_bit() {
    let mut run = networks::Run::default();
    networks::examine(&device(), &mut Tally::default(), &mut run).expect("shapes fit");
    let usual = run.digest();
    // The usual order besides would show nothing but what memory held, which these do too.
    for order in [Order::LastToFirst, Order::Strided] {
        let device = device();
        for shader in shaders().filter(|shader| !by_subgroups(shader)) {
            device.rewrite_shader(shader, move |text| reordered(text, order));
        }
        let (rows, digest) = everything(&device);
        assert!(wrong(&rows).is_empty(), "{order:?}: {:?}", wrong(&rows));
        assert_eq!(digest, usual, "{order:?}");
    }
}

/// Shaders whose kernels sum up more than once, which the first barrier of a sum is for.
const SEVERAL_SUMS: [&str; 4] = ["batch_norm_train", "layer_norm", "project", "statistics_distance"];

/// Leaves out one barrier after the other of shaders whose operations have names that begin alike.
fn leave_out_barriers(only: &str, shaders: &[&'static Shader]) {
    const BARRIER: &str = "workgroupBarrier();";
    let reached = Reached::of(only);
    for shader in shaders {
        let text = shader.written(&[]);
        for (number, (at, _)) in text.match_indices(BARRIER).enumerate() {
            // The same one in every text of the file, for no repetition has a barrier in it.
            let without = move |text: &str| {
                let (at, _) = text.match_indices(BARRIER).nth(number).expect("all texts have as many barriers");
                format!("{}{}", &text[..at], &text[at + BARRIER.len()..])
            };
            // The order in which a software driver runs them anyway is the last that shows anything.
            let caught = (ORDERS.iter().rev())
                .any(|&order| reached.caught_with(shader, move |text| reordered(&without(text), order)));
            let between_sums = text[at..].starts_with("workgroupBarrier(); // an earlier sum");
            let needed = !between_sums || SEVERAL_SUMS.contains(&shader.name);
            assert_eq!(caught, needed, "barrier {number} of {}", shader.name);
        }
    }
}

#[test]
fn a_barrier_left_out_is_caught() {
    let mut families: BTreeMap<&str, Vec<&Shader>> = BTreeMap::new();
    for shader in shaders().filter(|shader| shader.written(&[]).contains("workgroupBarrier();")) {
        let only = shader.name.trim_end_matches("_weight").trim_end_matches("_tiled");
        families.entry(only).or_default().push(shader);
    }
    // A driver compiles on the thread that asks, and most of the time goes there.
    let next = Mutex::new(families.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let family = next.lock().expect("nothing panics here").next();
                    let Some((only, shaders)) = family else { return };
                    leave_out_barriers(only, shaders);
                }
            });
        }
    });
}
