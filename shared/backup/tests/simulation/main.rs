//! Histories of the use cases, chosen by seeds: see `holdfast_testing::simulation`. `make simulate` plays as many as one likes.

use holdfast_testing::{
    fakes::Neglect,
    simulation::{Counts, Simulation},
};
use rstest::rstest;

/// Histories in each run of the tests.
const HISTORIES: u64 = 200;

/// Histories within which what is neglected has to be noticed.
const NOTICED_WITHIN: u64 = 150;

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
#[case(Neglect::RunVersions)]
#[case(Neglect::RestoreVersions)]
#[case(Neglect::Turns)]
#[case(Neglect::Keys)]
#[case(Neglect::Slots)]
fn it_would_notice_if_the_records_did_not_keep_a_condition(#[case] condition: Neglect) {
    let found = Simulation::neglecting(condition).play_all(0, NOTICED_WITHIN);
    assert!(found.is_err(), "{NOTICED_WITHIN} histories went well");
}
