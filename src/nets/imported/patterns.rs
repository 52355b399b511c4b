//! Operations that exporters write as several.

use std::collections::BTreeMap;

use crate::weights::{Node, Program};

/// The operator that stands for x · (1 + erf(x / √2)) / 2.
pub(super) const GELU: &str = "entoptic::Gelu";

/// Nodes of a program, where those that are one operation written as several have become it.
pub(super) fn joined(program: &Program) -> Vec<Node> {
    let mut nodes = program.nodes.clone();
    let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in program.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|name| readers.entry(name).or_default().push(index));
        makers.extend(node.outputs.iter().map(|name| (name.as_str(), index)));
    }
    let find = Find { program, readers, makers };
    for index in 0..program.nodes.len() {
        if program.nodes[index].operator == "Erf"
            && let Some((x, last)) = find.gelu(index)
        {
            let end = &program.nodes[last];
            nodes[last] =
                Node { operator: GELU.to_owned(), inputs: vec![x], attributes: BTreeMap::new(), ..end.clone() };
        }
    }
    nodes
}

struct Find<'a> {
    program: &'a Program,
    readers: BTreeMap<&'a str, Vec<usize>>,
    makers: BTreeMap<&'a str, usize>,
}

impl Find<'_> {
    /// What Erf stands in the middle of: the value that GELU is taken of, and the last operation.
    fn gelu(&self, erf: usize) -> Option<(String, usize)> {
        let node = &self.program.nodes[erf];
        let before = &self.program.nodes[*self.makers.get(node.inputs.first()?.as_str())?];
        let root = match before.operator.as_str() {
            "Div" => std::f64::consts::SQRT_2,
            "Mul" => std::f64::consts::FRAC_1_SQRT_2,
            _ => return None,
        };
        let x = self.with(before, root)?;
        let plus = self.only_reader(erf, "Add")?;
        self.with(&self.program.nodes[plus], 1.0)?;
        // (1 + erf) · x · 0.5 in any order: half of x may have been taken first.
        let product = self.only_reader(plus, "Mul")?;
        let sum = self.program.nodes[plus].outputs.first()?;
        let other = self.program.nodes[product].inputs.iter().find(|name| *name != sum)?.clone();
        if other == x {
            let last = self.only_reader(product, "Mul")?;
            self.with(&self.program.nodes[last], 0.5)?;
            return Some((x, last));
        }
        let half = &self.program.nodes[*self.makers.get(other.as_str())?];
        (half.operator == "Mul" && self.with(half, 0.5)? == x).then_some((x, product))
    }

    /// The other value of an operation of two, of which one is this number.
    fn with(&self, node: &Node, number: f64) -> Option<String> {
        let [a, b] = &node.inputs[..] else { return None };
        let is = |name: &String| {
            let values = self.program.constants.get(name).map(|constant| constant.floats());
            values.is_some_and(|values| matches!(values[..], [value] if (value - number).abs() < 1e-5))
        };
        match (is(a), is(b)) {
            (false, true) => Some(a.clone()),
            (true, false) if node.operator != "Div" => Some(b.clone()),
            _ => None,
        }
    }

    fn only_reader(&self, node: usize, operator: &str) -> Option<usize> {
        let made = self.program.nodes[node].outputs.first()?;
        match self.readers.get(made.as_str())?[..] {
            [reader] if self.program.nodes[reader].operator == operator && !self.program.outputs.contains(made) => {
                Some(reader)
            }
            _ => None,
        }
    }
}
