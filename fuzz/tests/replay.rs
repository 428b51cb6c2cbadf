//! Every target takes every input of its corpus, and many that are nearly those.

use std::fs;
use std::panic::catch_unwind;

use muster_fuzz::{Mutator, TARGETS, Target, corpus};

/// Changed inputs per target: some seconds in all.
const CHANGED: usize = 4_000;

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let directory = corpus(target);
    let entries = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}; a target has a corpus", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

fn takes(target: &Target, bytes: &[u8]) {
    let taken = catch_unwind(|| (target.run)(bytes)).is_ok();
    assert!(taken, "{} broke on {}", target.name, bytes.escape_ascii());
}

#[test]
fn every_target_takes_its_corpus_and_what_is_nearly_that() {
    for target in TARGETS {
        let inputs = inputs(target);
        for bytes in &inputs {
            takes(target, bytes);
        }
        takes(target, &[]);
        let mut mutator = Mutator::new(0x6d75_7374_6572);
        for _ in 0..CHANGED {
            takes(target, &mutator.next(&inputs));
        }
    }
}

#[test]
fn every_directory_of_the_corpus_is_a_targets() {
    let root = corpus(&TARGETS[0]);
    for entry in fs::read_dir(root.parent().expect("it has one")).expect("readable") {
        let name = entry.expect("readable").file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "{name:?} is no target's");
    }
}
