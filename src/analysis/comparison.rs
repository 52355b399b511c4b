//! Pictures of several sets as several networks see them: each network's outputs as points of a space.

use std::collections::BTreeMap;

use super::neighbours::{Nearest, Neighbours, nearest, neighbours};
use super::output_distance::{OutputDistance, output_distance};
use super::principal::{Principal, principal};
use super::scores::softmax;
use super::standing::standing;

/// What a picture shows, and the set that it belongs to, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Index of its class.
    pub class: usize,
    /// Index of its set.
    pub set: usize,
}

/// What a network makes of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opinion {
    /// Logit of the class.
    pub logit: f32,
    /// Softmax of the class.
    pub probability: f64,
    /// Classes with a larger logit.
    pub rank: usize,
    /// As [`Standing::margin`](super::Standing::margin).
    pub margin: f64,
    /// The most activated other class.
    pub other: Option<usize>,
}

/// Two networks, or two sets, and how far apart they are about each picture, or class.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The first.
    pub a: usize,
    /// The second.
    pub b: usize,
    /// By index of the picture, or class.
    pub distances: BTreeMap<usize, OutputDistance>,
}

/// What a network makes of a set, in the mean over its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meeting {
    /// Pictures.
    pub pictures: usize,
    /// Share of those whose class is the most activated one.
    pub top_1: f64,
    /// Share of those whose class is among the five most activated ones.
    pub top_5: f64,
    /// Softmax of the class.
    pub probability: f64,
    /// Classes with a larger logit.
    pub rank: f64,
}

/// All there is to say of some pictures and networks.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// By network and picture.
    pub opinions: Vec<Vec<Opinion>>,
    /// Networks two by two: distances between their outputs for each picture.
    pub networks: Vec<Pair>,
    /// By network, sets two by two: distances between the mean outputs for each class that both show.
    pub sets: Vec<Vec<Pair>>,
    /// By set and network.
    pub meetings: Vec<Vec<Meeting>>,
    /// By set and network: each class of the set, and the other class that the mean of its pictures' outputs activates most.
    pub graphs: Vec<Vec<Neighbours>>,
    /// By network and picture: the nearest picture of another class in the same set.
    pub nearest: Vec<Vec<Option<Nearest>>>,
    /// By network, over all pictures.
    pub principal: Vec<Principal>,
}

/// How many coordinates along principal components are kept.
pub const COMPONENTS: usize = 4;

/// Compares what networks say of pictures. `logits` holds for each network `classes` numbers for each picture, one after
/// another.
///
/// # Panics
/// When there are other numbers than of the pictures' classes, or some are not finite.
pub fn compare(shown: &[Shown], sets: usize, classes: usize, logits: &[Vec<f32>]) -> Comparison {
    let vector = |network: usize, picture: usize| &logits[network][picture * classes..(picture + 1) * classes];
    let means: Vec<Vec<BTreeMap<usize, Vec<f32>>>> =
        logits.iter().map(|logits| means(shown, sets, classes, logits)).collect();
    let opinions = |network: usize| -> Vec<Opinion> {
        shown.iter().enumerate().map(|(at, shown)| opinion(vector(network, at), shown.class)).collect()
    };
    let opinions: Vec<Vec<Opinion>> = (0..logits.len()).map(opinions).collect();
    let of_networks = |(a, b)| {
        let distance = |picture| (picture, output_distance(vector(a, picture), vector(b, picture)));
        Pair { a, b, distances: (0..shown.len()).map(distance).collect() }
    };
    let of_sets = |means: &Vec<BTreeMap<usize, Vec<f32>>>, (a, b): (usize, usize)| {
        let both = means[a].iter().filter_map(|(class, of_a)| Some((*class, of_a, means[b].get(class)?)));
        Pair { a, b, distances: both.map(|(class, of_a, of_b)| (class, output_distance(of_a, of_b))).collect() }
    };
    let meeting = |set: usize, network: usize| {
        let pictures = shown.iter().zip(&opinions[network]).filter(|(shown, _)| shown.set == set);
        meeting(&pictures.map(|(_, opinion)| *opinion).collect::<Vec<_>>())
    };
    let graph = |set: usize, network: usize| {
        let other = |(&class, mean): (&usize, &Vec<f32>)| Some((class, standing(mean, class).other?));
        neighbours(means[network][set].iter().filter_map(other).collect())
    };
    let networks = 0..logits.len();
    Comparison {
        networks: pairs(logits.len()).map(of_networks).collect(),
        sets: means.iter().map(|means| pairs(sets).map(|pair| of_sets(means, pair)).collect()).collect(),
        meetings: (0..sets).map(|set| networks.clone().map(|network| meeting(set, network)).collect()).collect(),
        graphs: (0..sets).map(|set| networks.clone().map(|network| graph(set, network)).collect()).collect(),
        nearest: logits.iter().map(|logits| nearest_in_sets(shown, sets, classes, logits)).collect(),
        principal: logits.iter().map(|logits| principal(logits, classes, COMPONENTS)).collect(),
        opinions,
    }
}

/// 0 and 1, 0 and 2, 1 and 2, ...
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

fn opinion(logits: &[f32], class: usize) -> Opinion {
    let stands = standing(logits, class);
    Opinion {
        logit: logits[class],
        probability: f64::from(softmax(logits)[class]),
        rank: stands.rank,
        margin: stands.margin,
        other: stands.other,
    }
}

fn meeting(opinions: &[Opinion]) -> Meeting {
    let count = opinions.len().max(1) as f64;
    let mean = |value: &dyn Fn(&Opinion) -> f64| opinions.iter().map(value).sum::<f64>() / count;
    Meeting {
        pictures: opinions.len(),
        top_1: mean(&|opinion| f64::from(u8::from(opinion.rank < 1))),
        top_5: mean(&|opinion| f64::from(u8::from(opinion.rank < 5))),
        probability: mean(&|opinion| opinion.probability),
        rank: mean(&|opinion| opinion.rank as f64),
    }
}

/// The mean output for each class of each set.
fn means(shown: &[Shown], sets: usize, classes: usize, logits: &[f32]) -> Vec<BTreeMap<usize, Vec<f32>>> {
    let mut members: Vec<BTreeMap<usize, Vec<&[f32]>>> = vec![BTreeMap::new(); sets];
    for (shown, vector) in shown.iter().zip(logits.chunks_exact(classes)) {
        members[shown.set].entry(shown.class).or_default().push(vector);
    }
    let mean = |vectors: Vec<&[f32]>| -> Vec<f32> {
        let sum = |k: usize| vectors.iter().map(|vector| f64::from(vector[k])).sum::<f64>();
        (0..classes).map(|k| (sum(k) / vectors.len() as f64) as f32).collect()
    };
    let of_set = |set: BTreeMap<usize, Vec<&[f32]>>| set.into_iter().map(|(class, all)| (class, mean(all))).collect();
    members.into_iter().map(of_set).collect()
}

fn nearest_in_sets(shown: &[Shown], sets: usize, classes: usize, logits: &[f32]) -> Vec<Option<Nearest>> {
    let mut found = vec![None; shown.len()];
    for set in 0..sets {
        let members: Vec<usize> = (0..shown.len()).filter(|&picture| shown[picture].set == set).collect();
        let rows = members.iter().flat_map(|&picture| &logits[picture * classes..(picture + 1) * classes]);
        let labels: Vec<usize> = members.iter().map(|&picture| shown[picture].class).collect();
        let of_set = nearest(&rows.copied().collect::<Vec<f32>>(), classes, &labels);
        for (&picture, one) in members.iter().zip(of_set) {
            found[picture] = one.map(|Nearest { index, distance }| Nearest { index: members[index], distance });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: [Shown; 4] = [
        Shown { class: 0, set: 0 },
        Shown { class: 2, set: 0 },
        Shown { class: 0, set: 1 },
        Shown { class: 0, set: 1 },
    ];

    fn found() -> Comparison {
        let first = vec![4.0, 1.0, 0.0, 1.0, 2.0, 2.0, 0.0, 3.0, 0.0, 2.0, 1.0, 0.0];
        let second = vec![4.0, 1.0, 0.0, 1.0, 2.0, 5.0, 3.0, 3.0, 4.0, 2.0, 1.0, 0.0];
        compare(&SHOWN, 2, 3, &[first, second])
    }

    #[test]
    fn pictures_have_opinions_and_sets_their_means() {
        let found = found();
        let ranks = found.opinions.iter().map(|all| all.iter().map(|opinion| opinion.rank).collect::<Vec<_>>());
        assert_eq!(ranks.collect::<Vec<_>>(), [[0, 0, 1, 0], [0, 0, 1, 0]], "of equal logits none is larger");
        let other: Vec<_> = found.opinions[1].iter().map(|opinion| opinion.other).collect();
        assert_eq!(other, [Some(1), Some(1), Some(2), Some(1)]);
        let e = f64::exp;
        let expected = e(4.0) / (e(4.0) + e(1.0) + 1.0);
        assert!((found.opinions[0][0].probability - expected).abs() < 1e-6);
        let Meeting { pictures, top_1, top_5, rank, .. } = found.meetings[1][0];
        assert_eq!((pictures, top_1, top_5, rank), (2, 0.5, 1.0, 0.5));
        assert_eq!((found.meetings[0][1].pictures, found.meetings[0][1].top_1), (2, 1.0));
    }

    #[test]
    fn networks_differ_by_picture_and_sets_by_class() {
        let found = found();
        let [Pair { a: 0, b: 1, distances }] = &found.networks[..] else { panic!("one pair: {found:?}") };
        let l1: Vec<f64> = distances.values().map(|distance| distance.l1).collect();
        assert_eq!(l1, [0.0, 3.0, 7.0, 0.0]);
        // The second set's mean for class 0 is (1, 2, 0) and (2.5, 2, 2); it shows no other class.
        for (network, l1) in [(0, 3.0 + 1.0), (1, 1.5 + 1.0 + 2.0)] {
            let [Pair { a: 0, b: 1, distances }] = &found.sets[network][..] else { panic!("one pair: {found:?}") };
            assert_eq!(distances.keys().collect::<Vec<_>>(), [&0]);
            assert_eq!(distances[&0].l1, l1);
        }
    }

    #[test]
    fn neighbours_are_those_of_the_set() {
        let found = found();
        assert_eq!(found.graphs[0][0].next, [(0, 1), (2, 1)].into());
        assert_eq!(found.graphs[0][0].components, [[0, 1, 2]]);
        assert_eq!(found.graphs[1][1].next, [(0, 1)].into(), "of equal ones the first");
        // Only class 0 in the second set: nothing else is near.
        let near: Vec<Option<usize>> = found.nearest[0].iter().map(|near| near.map(|near| near.index)).collect();
        assert_eq!(near, [Some(1), Some(0), None, None]);
        assert_eq!(found.nearest[0][0].expect("there is one").distance, f64::sqrt(9.0 + 1.0 + 4.0));
        assert_eq!((found.principal.len(), found.principal[0].points.len()), (2, 4));
    }

    #[test]
    fn a_network_of_one_class_and_an_empty_set_are_no_trouble() {
        let found = compare(&[Shown { class: 0, set: 1 }], 2, 1, &[vec![2.0]]);
        assert_eq!(found.meetings[0][0], Meeting::default());
        assert_eq!((found.opinions[0][0].other, found.graphs[1][0].components.len()), (None, 0));
    }
}
