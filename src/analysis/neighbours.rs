//! Which classes, and which pictures, lie next to each other in a network's output space.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DMatrixView};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::unionfind::UnionFind;

use super::output_distance::output_distance;

/// Rows whose distances to all others are held at once.
const ROWS: usize = 256;

/// The graph in which each class points to the one that its pictures activate most besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// Where each class with a picture points to.
    pub next: BTreeMap<usize, usize>,
    /// Classes that hang together, whichever way arrows point: the largest component first, of equal ones that with the first
    /// class; classes in order. A class that is only pointed to belongs to them too.
    pub components: Vec<Vec<usize>>,
    /// Of each component, the classes that are reached from themselves again; none where the way ends at a class without
    /// pictures.
    pub cycles: Vec<Vec<usize>>,
}

/// The graph of nearest neighbours, from where each class points to.
pub fn neighbours(next: BTreeMap<usize, usize>) -> Neighbours {
    let mut classes: Vec<usize> = next.iter().flat_map(|(&from, &to)| [from, to]).collect();
    classes.sort_unstable();
    classes.dedup();
    let place = |class: usize| classes.binary_search(&class).expect("all ends are listed");
    let edges = || next.iter().map(|(&from, &to)| (place(from), place(to)));

    let mut union = UnionFind::new(classes.len());
    edges().for_each(|(from, to)| {
        union.union(from, to);
    });
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, &class) in classes.iter().enumerate() {
        parts.entry(union.find(at)).or_default().push(class);
    }
    let mut components: Vec<Vec<usize>> = parts.into_values().collect();
    components.sort_by_key(|part| (usize::MAX - part.len(), part[0]));

    let mut graph: DiGraph<usize, ()> = DiGraph::with_capacity(classes.len(), next.len());
    let nodes: Vec<NodeIndex> = classes.iter().map(|&class| graph.add_node(class)).collect();
    edges().for_each(|(from, to)| {
        graph.add_edge(nodes[from], nodes[to], ());
    });
    let mut cycles = vec![vec![]; components.len()];
    for strong in tarjan_scc(&graph).into_iter().filter(|strong| strong.len() > 1) {
        let first = strong.iter().map(|&node| graph[node]).min().expect("two at least");
        let whose = components.iter().position(|part| part.binary_search(&first).is_ok());
        // Along the arrows from its first class.
        let way = std::iter::successors(Some(first), |class| next.get(class).copied().filter(|&next| next != first));
        cycles[whose.expect("components hold all classes")] = way.collect();
    }
    Neighbours { next, components, cycles }
}

/// A picture and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Its place among the vectors.
    pub index: usize,
    /// L2.
    pub distance: f64,
}

/// For each vector the nearest one, by L2, of those with another label; the first of equal ones. `rows` holds vectors of
/// `width` numbers one after another.
///
/// # Panics
/// When there are not as many labels as vectors.
pub fn nearest(rows: &[f32], width: usize, labels: &[usize]) -> Vec<Option<Nearest>> {
    assert_eq!(rows.len(), width * labels.len(), "a label for each vector");
    let vectors: Vec<f64> = rows.iter().map(|&value| f64::from(value)).collect();
    let vectors = DMatrixView::from_slice(&vectors, width, labels.len()); // each a column
    let squares: Vec<f64> = vectors.column_iter().map(|column| column.norm_squared()).collect();
    let mut found = Vec::with_capacity(labels.len());
    for first in (0..labels.len()).step_by(ROWS) {
        let count = ROWS.min(labels.len() - first);
        let products: DMatrix<f64> = vectors.tr_mul(&vectors.columns(first, count));
        for (at, products) in (first..).zip(products.column_iter()) {
            let apart = |other: usize| squares[at] + squares[other] - 2.0 * products[other];
            let others = (0..labels.len()).filter(|&other| labels[other] != labels[at]);
            let index = others.min_by(|&a, &b| apart(a).total_cmp(&apart(b)));
            let vector = |index: usize| &rows[index * width..(index + 1) * width];
            // The difference of squares has lost digits.
            let distance = |index| output_distance(vector(at), vector(index)).l2;
            found.push(index.map(|index| Nearest { index, distance: distance(index) }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_sorted_and_cycles_follow_the_arrows() {
        // 5 -> 2 -> 7 -> 5 with 9 -> 7; 0 <-> 1; 3 -> 4, of which there is no picture.
        let next = [(5, 2), (2, 7), (7, 5), (9, 7), (0, 1), (1, 0), (3, 4)];
        let found = neighbours(next.into());
        assert_eq!(found.components, [vec![2, 5, 7, 9], vec![0, 1], vec![3, 4]]);
        assert_eq!(found.cycles, [vec![2, 7, 5], vec![0, 1], vec![]]);
        let none = neighbours(BTreeMap::new());
        assert!(none.components.is_empty() && none.cycles.is_empty());
    }

    #[test]
    fn the_nearest_has_another_label() {
        let rows = [0.0, 0.0, 0.5, 0.0, 3.0, 4.0, 3.0, 4.0, -3.0, 4.0];
        let found = nearest(&rows, 2, &[0, 0, 1, 2, 3]);
        let expected = [(2, 5.0), (2, 22.25f64.sqrt()), (3, 0.0), (2, 0.0), (0, 5.0)];
        assert_eq!(found, expected.map(|(index, distance)| Some(Nearest { index, distance })));
        assert_eq!(nearest(&[1.0, 2.0], 1, &[4, 4]), [None, None]);
        assert_eq!(nearest(&[], 3, &[]), []);
    }

    #[test]
    fn more_vectors_than_are_held_at_once() {
        let count = 2 * ROWS + 3;
        // Squares of whole numbers: each one's nearest is the one before it.
        let rows: Vec<f32> = (1..=count).map(|k| (k * k) as f32).collect();
        let labels: Vec<usize> = (0..count).collect();
        let found = nearest(&rows, 1, &labels);
        assert_eq!(found[0], Some(Nearest { index: 1, distance: 3.0 }));
        for (k, found) in found.iter().enumerate().skip(1) {
            assert_eq!(*found, Some(Nearest { index: k - 1, distance: (2 * k + 1) as f64 }));
        }
    }
}
