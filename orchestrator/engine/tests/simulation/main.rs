//! Ten minutes in the life of several workers, simulated from one seed: commits go wrong, workers are killed,
//! stop and come, clocks jump, and at the end every promise is held against the store.
//!
//! One thread, a clock that only moves when nobody has anything to do, and the store in memory: a seed does
//! the same thing each time. `MUSTER_SEEDS` says how many seeds are tried (default 25), `MUSTER_SEED` picks
//! one to try again. The scheduler is tokio's own with a paused clock: workers, handlers and the store are
//! the real ones, and need nothing else to be brought under a seed.

mod seeds;
#[path = "../engine/support.rs"]
#[allow(dead_code, reason = "shared with the tests of one engine")]
mod support;
mod world;

use world::{Ended, World};

/// Seeds tried if nobody says how many.
const SEEDS: u64 = 25;

fn live(seed: u64, fenced: bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(World::live(seed, fenced))
}

#[test]
fn every_promise_holds_for_every_seed() {
    let seeds = seeds::asked(SEEDS);
    let (count, mut transitions, mut kills) = (seeds.end - seeds.start, 0, 0);
    for (seed, ended) in seeds::live_all(seeds, |seed| live(seed, true)) {
        assert_eq!(ended.broken, Vec::<String>::new(), "MUSTER_SEED={seed} makes this happen again");
        transitions += ended.transitions;
        kills += ended.kills;
    }
    seeds::say(&format!(
        "{count} seeds of ten simulated minutes: {transitions} transitions, {kills} kills, every promise held"
    ));
}

#[test]
fn a_seed_does_the_same_each_time() {
    let (one, other) = (live(7, true), live(7, true));
    assert_eq!(one, other);
    assert_ne!(one.digest, live(8, true).digest);
}

#[test]
fn without_the_fence_a_promise_is_seen_to_break() {
    // The mutation check of the simulation: a planted bug must be found.
    let found = (0..SEEDS).find(|seed| !live(*seed, false).broken.is_empty());
    assert!(found.is_some(), "no seed of {SEEDS} found that the fence was missing");
}
