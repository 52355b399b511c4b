//! The comparison itself: what it must let pass and what it must stop.

mod common;

use common::compare::{Bound, assert_aligned, assert_close};

#[test]
fn the_share_of_the_bound_is_returned() {
    assert_eq!(assert_close("same", &[1.0, 2.0], &[1.0, 2.0], Bound::EXACT), 0.0);
    let used = assert_close("half of abs", &[1.0, 2.25], &[1.0, 2.0], Bound::abs(0.5));
    assert!((used - 0.5).abs() < 1e-12);
    let used = assert_close("a fifth of L2", &[3.0, 4.1], &[3.0, 4.0], Bound::rel_l2(0.1));
    assert!((used - 0.2).abs() < 1e-6);
    assert_close("zeros", &[1e-7, 0.0], &[0.0, 0.0], Bound { rel_l2: 1e-6, abs: 1e-6 });
    assert_close("zeros have no relative distance", &[0.0], &[0.0], Bound::rel_l2(1e-6));
    assert_close("exact zeros", &[0.0, -0.0], &[0.0, 0.0], Bound::EXACT);
}

#[test]
#[should_panic(expected = "1 of 3 elements are off by more than 1.000e-1; worst at 1: 2.5 instead of 2")]
fn one_element_too_far_is_reported() {
    assert_close("x", &[1.0, 2.5, 3.0], &[1.0, 2.0, 3.0], Bound::abs(0.1));
}

#[test]
#[should_panic(expected = "times the bound was used")]
fn both_halves_must_hold() {
    assert_close("x", &[1.0, 2.1], &[1.0, 2.0], Bound { rel_l2: 1e-3, abs: 0.5 });
}

#[test]
#[should_panic(expected = "x: 1 elements, expected 2")]
fn lengths_are_checked_first() {
    assert_close("x", &[f32::NAN], &[1.0, 2.0], Bound::abs(0.1));
}

#[test]
#[should_panic(expected = "x: 1 computed elements are not finite, the first at 1: NaN")]
fn nan_fails() {
    assert_close("x", &[1.0, f32::NAN], &[1.0, 2.0], Bound::abs(0.1));
}

#[test]
#[should_panic(expected = "nothing is compared")]
fn nothing_fails() {
    assert_close("x", &[], &[], Bound::EXACT);
}

#[test]
#[should_panic(expected = "so loose that an answer of zeros passes")]
fn a_bound_above_the_values_is_refused() {
    assert_close("x", &[1.0, 2.0], &[1.0, 2.0], Bound::abs(2.0));
}

#[test]
#[should_panic(expected = "so loose that an answer of zeros passes")]
fn a_bound_that_asks_nothing_is_refused() {
    assert_close("x", &[1.0, 2.0], &[1.0, 2.0], Bound { rel_l2: f64::INFINITY, abs: f64::INFINITY });
}

#[test]
fn direction_is_compared_whatever_the_length() {
    assert!(assert_aligned("x", &[2.0, 4.0], &[1.0, 2.0], 1e-9) < 1e-12);
}

#[test]
#[should_panic(expected = "cosine distance is 1.000e0, at most 1.000e-3 is allowed")]
fn another_direction_fails() {
    assert_aligned("x", &[0.0, 1.0], &[1.0, 0.0], 1e-3);
}

#[test]
#[should_panic(expected = "cosine distance is NaN")]
fn zeros_have_no_direction() {
    assert_aligned("x", &[0.0, 0.0], &[1.0, 0.0], 1e-3);
}
