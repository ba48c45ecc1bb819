//! Histories of the use cases, chosen by seeds: see `holdfast_testing::simulation`. `make simulate` plays as many as one likes.

use holdfast_testing::{
    fakes::Neglect,
    simulation::{Counts, Simulation},
};
use rstest::rstest;

/// Histories in each run of the tests.
const HISTORIES: u64 = 200;

/// Histories within which what is neglected has to be noticed: what is soon, and what takes many people at once.
const SOON: u64 = 150;
const AT_LAST: u64 = 3000;

#[test]
fn whatever_fails_or_dies_everything_ends_as_it_should_and_nothing_is_left() {
    match Simulation::new().play_all(0, HISTORIES) {
        Ok(counts) => assert_all_happened(counts),
        Err(report) => panic!("{report}"),
    }
}

/// A simulation in which nothing happens finds nothing.
fn assert_all_happened(counts: Counts) {
    let words = counts.to_string();
    for line in words.lines() {
        assert!(!line.trim_start().starts_with("0 "), "it never happened:{line}\n{words}");
    }
}

#[test]
fn a_seed_always_plays_the_same_history() {
    let (mut one, mut other) = (Simulation::new(), Simulation::new());
    for seed in 0..30 {
        let (first, again) = (one.play(seed), other.play(seed));
        assert!(first.trace == again.trace, "seed {seed}:\n{}\n---\n{}", first.trace, again.trace);
        assert_eq!(first.counts, again.counts, "seed {seed}");
    }
}

#[rstest]
#[case(Neglect::BackupVersions)]
#[case(Neglect::Turns)]
fn it_would_notice_if_the_records_did_not_keep_a_condition(#[case] condition: Neglect) {
    assert_noticed(condition, SOON);
}

#[rstest]
#[case(Neglect::RunVersions)]
#[case(Neglect::RestoreVersions)]
#[case(Neglect::Keys)]
#[case(Neglect::Slots)]
#[ignore = "takes minutes: `cargo test --workspace --test simulation -- --ignored`"]
fn it_would_notice_at_last(#[case] condition: Neglect) {
    assert_noticed(condition, AT_LAST);
}

fn assert_noticed(condition: Neglect, within: u64) {
    let found = Simulation::neglecting(condition).play_all(0, within);
    assert!(found.is_err(), "{within} histories went well");
}
