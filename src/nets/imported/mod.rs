//! Networks that are described by a file: from its operations to a [`Structure`], as those of the zoo are.
//!
//! `onnx` and `aten` know how the two kinds of files spell operations, `resolve` walks them at the sizes of the export, `form`
//! follows how sides lie in pictures, `step` is what comes out: a list without sizes, which `lay` puts on a tape. Names of operations
//! stand in this folder alone.

mod aten;
mod attention;
mod ends;
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
mod sizes;
mod step;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use self::form::Form;
use self::lay::Laid;
use self::problems::Problems;
use self::resolve::Resolver;
use self::sizes::Sizes;
use self::step::{Id, Network, Operation};
use self::value::{Picture, Refusal, Value};
use super::structure::{Ends, Imported, Structure, shapes_of};
use crate::ops::{Activation, Softmax};
use crate::weights::{Checkpoint, Constant, Language, Node, Program, TensorView};
use crate::{Error, Result};

impl Structure {
    /// The network that a file describes, and the file with its tensors named by layers. A file that holds weights alone, which
    /// [`Structure::of`] is for, is handed back.
    ///
    /// # Errors
    /// [`Error::Program`] with everything that cannot be read.
    pub fn read(checkpoint: Checkpoint) -> Result<Result<(Structure, Checkpoint), Checkpoint>> {
        Self::read_between(checkpoint, &Ends::default())
    }

    /// The same between one of its inputs and one of its outputs.
    ///
    /// # Errors
    /// As [`Structure::read`], with the names that there are where more than one may be meant; [`Error::File`] for weights alone, which
    /// have none.
    pub fn read_between(checkpoint: Checkpoint, ends: &Ends) -> Result<Result<(Structure, Checkpoint), Checkpoint>> {
        let file = checkpoint.name().to_owned();
        let refused = |problems: Vec<String>| Error::Program { file: file.clone().into(), problems };
        let Some(program) = checkpoint.program() else {
            return match ends {
                Ends { input: None, output: None } => Ok(Err(checkpoint)),
                _ => Err(Error::file(file, "holds weights alone, without inputs and outputs to choose from")),
            };
        };
        let program = ends::between(program, ends).map_err(|line| refused(vec![line]))?;
        // One that another file described keeps the sizes that tensors had there.
        let kept = !program.shapes.is_empty();
        let shapes = if kept { program.shapes.clone() } else { shapes_of(&checkpoint) };
        let (network, sizes) = resolve(&program, &shapes).map_err(refused)?;
        let mut views = Vec::new();
        for step in &network.steps {
            views.extend(step.tensor_names().map(|(name, view)| (name, view.clone())));
        }
        let quantized = if kept { vec![] } else { quantized(&checkpoint, &views) };
        if !quantized.is_empty() {
            return Err(refused(quantized));
        }
        let stem =
            Path::new(&file).file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
        let name = checkpoint.metadata().get("network").filter(|_| kept).cloned().unwrap_or(stem);
        let classifier = network.classifier();
        let network = Arc::new(network);
        let laid = Laid { network: network.clone(), sides: sizes.sides, fixed: !sizes.free, channels: sizes.channels };
        let describe = described(program, shapes, network.clone());
        let imported = Imported {
            classes: network.logits.map(|(_, classes)| classes),
            channels: sizes.channels,
            sides: sizes.sides,
            behind: network.behind,
            folded: network.folded(),
            shapes: views.iter().map(|(name, view)| (name.clone(), view.sizes.clone())).collect(),
            ends: ends.clone(),
            describe: Arc::new(describe),
        };
        let structure = Structure::new(&name, &classifier, move |net, x| laid.forward(net, x)).imported(imported);
        let checkpoint = if kept { checkpoint } else { checkpoint.renamed(views)? };
        Ok(Ok((structure, checkpoint)))
    }
}

/// One line for each tensor that holds no numbers of the kind that weights are.
fn quantized(checkpoint: &Checkpoint, views: &[(String, TensorView)]) -> Vec<String> {
    let line = |(name, view): &(String, TensorView)| {
        let kind = checkpoint.dtype(&view.tensor).filter(|kind| !["F16", "BF16", "F32", "F64"].contains(kind))?;
        let name = name.escape_debug();
        Some(format!("tensor {name} holds numbers of type {kind}; export the network before it is quantized"))
    };
    views.iter().filter_map(line).collect()
}

/// Writes a program down so that it is read as this network again, without the numbers that nothing but its weights are.
fn described(
    program: Program,
    shapes: BTreeMap<String, Vec<usize>>,
    network: Arc<Network>,
) -> impl Fn() -> Result<String, String> {
    move || {
        let few = |constant: &Constant| constant.ints().is_some() || constant.shape.iter().product::<usize>() == 1;
        let needed = |(name, constant): &(&String, &Constant)| few(constant) || !program.tensors.contains_key(*name);
        let constants = program.constants.iter().filter(needed).map(|(name, one)| (name.clone(), one.clone()));
        let short = Program { constants: constants.collect(), ..program.clone() };
        // Some networks compute with numbers that look like weights.
        let same = |(other, _): (Network, Sizes)| format!("{:?}", other.steps) == format!("{:?}", network.steps);
        match resolve(&short, &shapes).is_ok_and(same) {
            true => short.to_text(&shapes),
            false => program.to_text(&shapes),
        }
    }
}

/// Walks a program, which has one input and one output, at the sizes that it says, or that it may have been meant for.
fn resolve(program: &Program, shapes: &BTreeMap<String, Vec<usize>>) -> Result<(Network, Sizes), Vec<String>> {
    let mut first = None;
    for sizes in Sizes::all(&program.inputs[0]).map_err(|line| vec![line])? {
        match walk(program, shapes, &sizes) {
            Ok(network) => return Ok((network, sizes)),
            Err(problems) => {
                let hopeless = !problems.may_be_of_sizes();
                let lines = first.get_or_insert_with(|| problems.lines());
                if hopeless {
                    return Err(lines.clone());
                }
            }
        }
    }
    Err(first.unwrap_or_default())
}

/// Walks a program at these sizes.
fn walk(program: &Program, shapes: &BTreeMap<String, Vec<usize>>, sizes: &Sizes) -> Result<Network, Problems> {
    let mut r = Resolver::new(program, shapes);
    let (input, output) = (&program.inputs[0], &program.outputs[0]);
    let form = Form::plain([sizes.batch, sizes.channels, sizes.sides[0], sizes.sides[1]]);
    let form = if sizes.last { form.transposed(&[0, 2, 3, 1]).expect("four sides in another order") } else { form };
    r.set(&input.name, Value::Picture(Picture { id: 0, form, padding: [[0; 2]; 2] }));
    let nodes = match program.language {
        Language::Aten => Cow::Borrowed(&program.nodes[..]),
        Language::Onnx(_) => Cow::Owned(patterns::joined(program)),
    };
    let sorted = order::sorted(&nodes, &program.outputs).map_err(Problems::of)?;
    for name in sorted.iter().flat_map(|node| order::given(node)).chain([output.as_str()]) {
        *r.readers.entry(name.to_owned()).or_insert(0) += 1;
    }
    let of_conv =
        |node: &Node| ["Conv", "aten.conv2d.default", "aten.conv2d.padding"].contains(&node.operator.as_str());
    for node in sorted.iter().filter(|node| !of_conv(node)) {
        r.read_by_others.extend(order::given(node).into_iter().map(str::to_owned));
    }
    r.read_by_others.insert(output.clone());
    for node in &sorted {
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
    // Values that are refused before it hide from the walk that a product is attention.
    if !r.problems.is_empty() && !r.problems.has_attention() {
        attention::products(&sorted).into_iter().for_each(|node| r.problems.note(node, Refusal::Attention));
    }
    let end = r.get(output);
    if r.problems.is_empty() && !matches!(end, Ok(Value::Picture(_))) {
        let why = match end {
            Err(Refusal::Unknown) | Ok(Value::Unknown) => "is one that its operation is not read for",
            _ => "does not depend on the picture",
        };
        r.problems.say(format!("its output {} {why}", output.escape_debug()));
    }
    if !r.problems.is_empty() {
        return Err(r.problems);
    }
    let Ok(Value::Picture(end)) = end else { unreachable!("it has been looked at") };
    let Resolver { mut steps, names, mut behind, .. } = r;
    let mut id = end.id;
    // The logits are what stands before a last softmax or sigmoid.
    if let Some(step) = id.checked_sub(1).and_then(|at| steps.get(at))
        && let Operation::Apply(op) = &step.operation
    {
        let op: &dyn std::any::Any = &**op;
        let function = match op.downcast_ref::<Activation>() {
            Some(Activation::Sigmoid) => Some("sigmoid"),
            _ => op.is::<Softmax>().then_some("softmax"),
        };
        if behind.is_none() && function.is_some() {
            (behind, id) = (function, step.inputs[0]);
        }
    }
    let [_, channels, h, w] = end.form.picture();
    let logits = (h * w == 1).then_some((id, channels));
    let taps = names.taps();
    let wanted: Vec<Id> = taps.keys().copied().chain([id]).collect();
    step::combine(&mut steps, &wanted);
    Ok(Network { steps, taps, logits, behind })
}
