//! Where the classes of a graph of nearest neighbours stand when it is drawn.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use crate::analysis::Neighbours;

/// Between a ring and the next one, in distances between neighbours on a ring.
const STEP: f64 = 1.25;

/// Around a component.
const MARGIN: f64 = 1.0;

/// Width of the whole to its height.
const ASPECT: f64 = 2.0;

/// Places for all classes of a graph, at least one unit apart: each component has its cycle, or the class where all ways
/// end, in the middle, and around it, ring by ring, those that lead there. Components stand in rows, the largest first.
pub fn layout(graph: &Neighbours) -> BTreeMap<usize, [f64; 2]> {
    let mut sources: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    graph.next.iter().for_each(|(&from, &to)| sources.entry(to).or_default().push(from));
    let flowers = graph.components.iter().zip(&graph.cycles).map(|(part, cycle)| {
        let end = part.iter().copied().filter(|class| !graph.next.contains_key(class)).collect();
        flower(if cycle.is_empty() { end } else { cycle.clone() }, &sources)
    });
    rows(flowers.collect())
}

/// A component around its middle, and how far it reaches from there.
struct Flower {
    places: Vec<(usize, [f64; 2])>,
    radius: f64,
}

/// A class on a ring, in the middle of the angle that it and all behind it have.
struct Node {
    class: usize,
    from: f64,
    angle: f64,
}

fn flower(middle: Vec<usize>, sources: &BTreeMap<usize, Vec<usize>>) -> Flower {
    let behind = |class: usize| {
        let all = sources.get(&class).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|source| !middle.contains(source))
    };
    // Rings from the inside, and how many leaves each class has in the end.
    let mut rings = vec![middle.clone()];
    loop {
        let next: Vec<usize> = rings[rings.len() - 1].iter().flat_map(|&class| behind(class)).collect();
        if next.is_empty() {
            break;
        }
        rings.push(next);
    }
    let mut leaves: BTreeMap<usize, f64> = BTreeMap::new();
    for &class in rings.iter().rev().flatten() {
        let own = behind(class).map(|source| leaves[&source]).sum::<f64>();
        leaves.insert(class, own.max(1.0));
    }

    let all: f64 = middle.iter().map(|class| leaves[class]).sum();
    let share = |classes: &mut dyn Iterator<Item = usize>, mut from: f64, ring: &mut Vec<Node>| {
        for class in classes {
            let angle = TAU * leaves[&class] / all;
            ring.push(Node { class, from, angle });
            from += angle;
        }
    };
    let mut ring = vec![];
    share(&mut middle.iter().copied(), -TAU / 4.0, &mut ring);
    let (mut places, mut radius) = (vec![], 0.0);
    for depth in 0..rings.len() {
        let angles: Vec<f64> = ring.iter().map(|node| node.from + node.angle / 2.0).collect();
        let (first, count) = if depth == 0 { inner(&angles) } else { outer(&angles, radius + STEP) };
        for (index, (node, angle)) in ring.iter().zip(&angles).enumerate() {
            let r = first + (index % count) as f64;
            places.push((node.class, [r * angle.cos(), r * angle.sin()]));
        }
        radius = first + (count - 1) as f64;
        let mut next = vec![];
        ring.iter().for_each(|node| share(&mut behind(node.class), node.from, &mut next));
        ring = next;
    }
    Flower { places, radius: radius + MARGIN }
}

/// The radius of the innermost ring: a point when it is one class.
fn inner(angles: &[f64]) -> (f64, usize) {
    if angles.len() == 1 { (0.0, 1) } else { (chord(gap(angles, 1)), 1) }
}

/// The radius of a ring at least so large, and into how many rings one unit apart it is split, so that it need not become
/// much larger.
fn outer(angles: &[f64], least: f64) -> (f64, usize) {
    let needed = |count: usize| chord(gap(angles, count));
    let count = (1..angles.len()).find(|&count| needed(count) <= least + count as f64).unwrap_or(angles.len().max(1));
    (least.max(needed(count)), count)
}

/// The radius at which an angle makes a unit.
fn chord(angle: f64) -> f64 {
    0.5 / (angle.min(TAU / 2.0) / 2.0).sin()
}

/// The smallest angle between a class and the one `steps` places further, around the circle; nearly a whole turn where each
/// has a ring of its own.
fn gap(angles: &[f64], steps: usize) -> f64 {
    let count = angles.len();
    if steps >= count {
        return TAU / 2.0;
    }
    // Places are dealt out to rings in turn; where the last one meets the first, the turn is cut short.
    let around =
        |index: usize| match (index + 1..=index + 2 * steps).find(|other| other % count % steps == index % steps) {
            Some(other) => angles[other % count] + TAU * (other / count) as f64 - angles[index],
            None => TAU / 2.0,
        };
    (0..count).map(around).fold(TAU / 2.0, f64::min)
}

/// Components in rows from left to right, the next row under the largest of the one before.
fn rows(flowers: Vec<Flower>) -> BTreeMap<usize, [f64; 2]> {
    let area: f64 = flowers.iter().map(|flower| (2.0 * flower.radius).powi(2)).sum();
    let widest = flowers.iter().map(|flower| 2.0 * flower.radius).fold((area * ASPECT).sqrt(), f64::max);
    let (mut left, mut top, mut height) = (0.0, 0.0, 0.0f64);
    let mut places = BTreeMap::new();
    for Flower { places: of_flower, radius } in flowers {
        if left + 2.0 * radius > widest + 1e-9 {
            (left, top, height) = (0.0, top + height, 0.0);
        }
        places.extend(of_flower.into_iter().map(|(class, [x, y])| (class, [left + radius + x, top + radius + y])));
        left += 2.0 * radius;
        height = height.max(2.0 * radius);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::neighbours;

    fn distance([a, b]: [f64; 2], [c, d]: [f64; 2]) -> f64 {
        (a - c).hypot(b - d)
    }

    #[track_caller]
    fn check(next: BTreeMap<usize, usize>) -> BTreeMap<usize, [f64; 2]> {
        let graph = neighbours(next);
        let places = layout(&graph);
        assert_eq!(places.len(), graph.components.iter().map(Vec::len).sum::<usize>());
        let all: Vec<[f64; 2]> = places.values().copied().collect();
        for (index, &a) in all.iter().enumerate() {
            for &b in &all[..index] {
                assert!(distance(a, b) > 1.0 - 1e-9, "{a:?} and {b:?} of {places:?}");
            }
        }
        places
    }

    #[test]
    fn a_pair_is_a_unit_apart_and_a_star_is_round() {
        let pair = check([(3, 5), (5, 3)].into());
        assert!((distance(pair[&3], pair[&5]) - 1.0).abs() < 1e-9);
        let star = check((1..=6).map(|class| (class, 0)).collect());
        let radii: Vec<f64> = (1..=6).map(|class| distance(star[&class], star[&0])).collect();
        assert!(radii.iter().all(|radius| (radius - radii[0]).abs() < 1e-9), "{radii:?}");
    }

    #[test]
    fn no_two_classes_overlap() {
        assert!(check(BTreeMap::new()).is_empty());
        // A thousand that point at one, then a random map, a long chain, and many pairs.
        let hub = check((1..1000).map(|class| (class, 0)).chain([(0, 1)]).collect());
        let reach = hub.values().map(|&place| distance(place, hub[&0])).fold(0.0, f64::max);
        assert!(reach < 45.0, "a disc rather than a ring: {reach}");
        let random = |class: usize| (class * 7919 + class * class * 31 + 5) % 500;
        check((0..500).map(|class| (class, random(class))).filter(|(from, to)| from != to).collect());
        check((0..60).map(|class| (class, class + 1)).collect());
        check((0..100).map(|class| (class, class ^ 1)).collect());
        let square = |class: usize| (class * class + 1) % 997;
        check((0..997).map(|class| (class, square(class))).filter(|(from, to)| from != to).collect());
    }
}
