//! Networks that are described by a file: from its operations to a [`Structure`], as those of the zoo are.
//!
//! `onnx` and `aten` know how the two kinds of files spell operations, `resolve` walks them at the sizes of the export, `form`
//! follows how sides lie in pictures, `step` is what comes out: a list without sizes, which `lay` puts on a tape. Names of operations
//! stand in this folder alone.

mod aten;
mod fold;
mod form;
mod functions;
mod lay;
mod moves;
mod names;
mod onnx;
mod order;
mod parametrised;
mod patterns;
mod problems;
mod resolve;
mod step;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use self::form::Form;
use self::lay::Laid;
use self::resolve::Resolver;
use self::step::{Id, Network, Operation};
use self::value::{Picture, Value};
use super::structure::Structure;
use crate::ops::{Activation, Softmax};
use crate::weights::{Checkpoint, Input, Language, Node, Program};
use crate::{Error, Result};

/// Side of pictures where a file leaves it open.
const USUAL_SIDE: usize = 224;

impl Structure {
    /// The network that a file describes, and the file with its tensors named by layers. A file that holds weights alone, which
    /// [`Structure::of`] is for, is handed back.
    ///
    /// # Errors
    /// [`Error::Program`] with everything that cannot be read.
    pub fn read(checkpoint: Checkpoint) -> Result<Result<(Structure, Checkpoint), Checkpoint>> {
        let Some(program) = checkpoint.program() else { return Ok(Err(checkpoint)) };
        let file = checkpoint.name().to_owned();
        let refused = |problems: Vec<String>| Error::Program { file: file.clone().into(), problems };
        let shapes: BTreeMap<String, Vec<usize>> = super::structure::shapes_of(&checkpoint);
        order::sorted(&program.nodes, &program.outputs).map_err(|line| refused(vec![line]))?;
        let input = picture_input(program).map_err(|line| refused(vec![line]))?;
        let sizes = Sizes::of(input).map_err(|line| refused(vec![line]))?;
        let network = resolve(program, &shapes, input, &sizes).map_err(refused)?;
        let mut views = Vec::new();
        for step in &network.steps {
            views.extend(step.tensor_names().map(|(name, view)| (name, view.clone())));
        }
        let integers = |view: &crate::weights::TensorView| {
            checkpoint.dtype(&view.tensor).is_some_and(|kind| !["F16", "BF16", "F32", "F64"].contains(&kind))
        };
        let quantized: Vec<String> = views
            .iter()
            .filter(|(_, view)| integers(view))
            .map(|(name, view)| {
                let kind = checkpoint.dtype(&view.tensor).unwrap_or_default();
                format!(
                    "tensor {} holds numbers of type {kind}; export the network before it is quantized",
                    name.escape_debug()
                )
            })
            .collect();
        if !quantized.is_empty() {
            return Err(refused(quantized));
        }
        let stem =
            Path::new(&file).file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
        let classifier = network.classifier();
        let logits = network.logits;
        let behind = network.behind;
        let laid =
            Laid { network: Arc::new(network), sides: sizes.sides, fixed: !sizes.free, channels: sizes.channels };
        let structure = Structure::new(&stem, &classifier, move |net, x| laid.forward(net, x)).imported(
            logits.map(|(_, classes)| classes),
            sizes.channels,
            sizes.sides,
            behind,
        );
        Ok(Ok((structure, checkpoint.renamed(views)?)))
    }
}

/// The one input that is a picture.
fn picture_input(program: &Program) -> Result<&Input, String> {
    let used = order::used(&program.nodes, &program.outputs);
    let inputs: Vec<&Input> = program.inputs.iter().filter(|input| used.contains(input.name.as_str())).collect();
    match inputs[..] {
        [input] if !input.is_float => {
            Err(format!("its input {} holds whole numbers, not a picture", input.name.escape_debug()))
        }
        [input] => Ok(input),
        [] => Err("none of its outputs depends on an input".into()),
        _ => {
            let about = |input: &&Input| format!("{} {}", input.name.escape_debug(), shown(input));
            let all: Vec<String> = inputs.iter().map(about).collect();
            Err(format!(
                "it has {} inputs ({}), and a network of one picture is read; export it with one",
                all.len(),
                all.join(", ")
            ))
        }
    }
}

fn shown(input: &Input) -> String {
    let size = |size: &Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
    let sizes = input.sizes.iter().flatten().map(size).collect::<Vec<_>>();
    format!("[{}]", sizes.join(", "))
}

/// The picture that a file was made for.
struct Sizes {
    batch: usize,
    channels: usize,
    sides: [usize; 2],
    /// Whether the file leaves the sides open.
    free: bool,
    /// Whether channels come last.
    last: bool,
}

impl Sizes {
    fn of(input: &Input) -> Result<Self, String> {
        let name = input.name.escape_debug();
        let Some([batch, sizes @ ..]) = input.sizes.as_deref() else {
            return Err(format!(
                "its input {name} has no sizes, and a picture has four; export it with an example picture"
            ));
        };
        let &[a, b, c] = sizes else {
            return Err(format!("its input {name} has the sizes {}, and a picture has four", shown(input)));
        };
        let few = |size: Option<usize>| matches!(size, Some(1 | 3 | 4));
        let last = few(c) && !few(a);
        let (channels, h, w) = if last { (c, a, b) } else { (a, b, c) };
        let channels = channels.unwrap_or(3);
        if !matches!(channels, 1 | 3) {
            return Err(format!(
                "its input {name} has {channels} channels, and pictures have 3, or 1 when they are grey"
            ));
        }
        let free = h.is_none() || w.is_none();
        let sides = [h.or(w).unwrap_or(USUAL_SIDE), w.or(h).unwrap_or(USUAL_SIDE)];
        const LARGEST: usize = 1 << 14;
        if sides.iter().any(|side| *side > LARGEST) {
            return Err(format!(
                "its input {name} has the sizes {}, and pictures have up to {LARGEST} pixels a side",
                shown(input)
            ));
        }
        Ok(Sizes { batch: batch.unwrap_or(1).min(LARGEST), channels, sides, free, last })
    }
}

/// Walks a program at these sizes.
fn resolve(
    program: &Program,
    shapes: &BTreeMap<String, Vec<usize>>,
    input: &Input,
    sizes: &Sizes,
) -> Result<Network, Vec<String>> {
    let mut r = Resolver::new(program, shapes);
    let [output] = &program.outputs[..] else {
        let names: Vec<String> = program.outputs.iter().map(|name| name.escape_debug().to_string()).collect();
        return Err(vec![format!(
            "it has {} outputs ({}), and a network with one is read; export it so that it returns the logits alone",
            names.len(),
            names.join(", ")
        )]);
    };
    let form = Form::plain([sizes.batch, sizes.channels, sizes.sides[0], sizes.sides[1]]);
    let form = if sizes.last { form.transposed(&[0, 2, 3, 1]).expect("four sides in another order") } else { form };
    r.set(&input.name, Value::Picture(Picture { id: 0, form, padding: [[0; 2]; 2] }));
    let nodes = match program.language {
        Language::Aten => Cow::Borrowed(&program.nodes[..]),
        Language::Onnx(_) => Cow::Owned(patterns::joined(program)),
    };
    let sorted = order::sorted(&nodes, &program.outputs).map_err(|line| vec![line])?;
    for name in sorted.iter().flat_map(|node| order::given(node)).chain([output.as_str()]) {
        *r.readers.entry(name.to_owned()).or_insert(0) += 1;
    }
    let of_conv =
        |node: &Node| ["Conv", "aten.conv2d.default", "aten.conv2d.padding"].contains(&node.operator.as_str());
    for node in sorted.iter().filter(|node| !of_conv(node)) {
        r.read_by_others.extend(order::given(node).into_iter().map(str::to_owned));
    }
    r.read_by_others.insert(output.clone());
    for node in sorted {
        let before = r.steps.len();
        let made = match program.language {
            Language::Aten => aten::apply(&mut r, node),
            Language::Onnx(version) => onnx::apply(&mut r, node, version),
        };
        let made = made.unwrap_or_else(|refusal| {
            r.problems.note(node, refusal);
            vec![Value::Unknown; node.outputs.len()]
        });
        // What is left out at the end has no value that its name could mean.
        if r.behind.is_none()
            && let Some(Value::Picture(x)) = made.iter().find(|value| matches!(value, Value::Picture(_)))
        {
            r.names.made(node, x.id);
            if before < r.steps.len() && x.id == r.steps.len() && made.len() == 1 {
                r.direct.extend(node.outputs.first().map(|name| (name.clone(), x.id)));
            }
        }
        for (name, value) in node.outputs.iter().zip(made.into_iter().chain(std::iter::repeat(Value::Unknown))) {
            r.set(name, value);
        }
    }
    let end = r.get(output);
    if r.problems.is_empty() && !matches!(end, Ok(Value::Picture(_))) {
        r.problems.say(format!("its output {} does not depend on the picture", output.escape_debug()));
    }
    if !r.problems.is_empty() {
        return Err(r.problems.lines());
    }
    let Ok(Value::Picture(end)) = end else { unreachable!("it has been looked at") };
    let Resolver { mut steps, names, mut behind, .. } = r;
    let mut id = end.id;
    // The logits are what stands before a last softmax or sigmoid.
    if let Some(step) = id.checked_sub(1).and_then(|at| steps.get(at))
        && let Operation::Apply(op) = &step.operation
    {
        let op: &dyn std::any::Any = &**op;
        if op.is::<Softmax>() {
            behind = Some("softmax");
        } else if op.downcast_ref() == Some(&Activation::Sigmoid) {
            behind = Some("sigmoid");
        }
        if behind.is_some() {
            id = step.inputs[0];
        }
    }
    let [_, channels, h, w] = end.form.picture();
    let logits = (h * w == 1 && channels > 1).then_some((id, channels));
    let taps = names.taps();
    let wanted: Vec<Id> = taps.keys().copied().chain([id]).collect();
    step::combine(&mut steps, &wanted);
    Ok(Network { steps, taps, logits, behind })
}
