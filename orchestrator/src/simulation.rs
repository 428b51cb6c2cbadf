//! Ten minutes in the life of a whole installation, simulated from one seed: replicas with every workflow and
//! matchmaking, nodes with the agent's own table, edges, players; commits, processes, clocks and links go
//! wrong, and the promises are held against what is there, now and then and at the end.
//!
//! One thread, tokio's clock, which only moves when nobody has anything to do, and the store in memory: a seed
//! does the same thing each time. `MUSTER_SEEDS` says how many seeds are tried, `MUSTER_SEED` picks one to try
//! again. Played are only Docker and the wire under the links. It says nothing of the engine by itself, which
//! has a simulation of its own.

mod chooser;
mod edge;
mod judge;
mod network;
mod node;
mod player;
mod replica;
#[path = "../engine/tests/simulation/seeds.rs"]
mod seeds;
mod stage;
mod story;

use stage::{Chance, Planted, Stage};
use story::{Ended, Story};

/// Seeds tried if nobody says how many.
const SEEDS: u64 = 16;

fn live(seed: u64, planted: Planted) -> Ended {
    crate::random::seeded::begin(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(Story::live(seed, planted))
}

#[test]
fn every_promise_holds_for_every_seed() {
    let seeds = seeds::asked(SEEDS);
    let count = seeds.end - seeds.start;
    let (mut tickets, mut matched, mut killed, mut cut) = (0, 0, 0, 0);
    for (seed, ended) in seeds::live_all(seeds, |seed| live(seed, Planted::Nothing)) {
        assert_eq!(ended.broken, Vec::<String>::new(), "MUSTER_SEED={seed} makes this happen again");
        assert!(ended.matched > 0, "seed {seed}: nobody played, so nothing was tried");
        tickets += ended.tickets;
        matched += ended.matched;
        killed += ended.killed;
        cut += ended.cut;
    }
    seeds::say(&format!(
        "{count} seeds of ten simulated minutes: {tickets} tickets acknowledged, {matched} matched, {killed} \
         processes killed, {cut} links cut, every promise held"
    ));
}

#[test]
fn a_seed_does_the_same_each_time() {
    let (one, other) = (live(7, Planted::Nothing), live(7, Planted::Nothing));
    assert_eq!(one, other);
    assert_ne!(one.digest, live(8, Planted::Nothing).digest);
}

/// The mutation check of the simulation: a planted bug must be found.
fn is_found(planted: Planted) {
    let found = (0..SEEDS).map(|seed| live(seed, planted)).find(|ended| !ended.broken.is_empty());
    assert!(found.is_some(), "no seed of {SEEDS} found {planted:?}");
}

#[test]
fn a_store_that_lets_both_of_two_rivals_win_is_found() {
    is_found(Planted::ConflictsUnseen);
}

#[test]
fn an_agent_that_takes_a_part_for_the_whole_is_found() {
    is_found(Planted::PartTakenForWhole);
}
