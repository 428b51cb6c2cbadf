//! Which seeds are lived, and many of them at a time. Both simulations, the engine's and a whole installation's, go
//! by this; what a life is, is theirs.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// The seed of `MUSTER_SEED`, or as many as `MUSTER_SEEDS` says, or `default` of them.
pub(crate) fn asked(default: u64) -> Range<u64> {
    number("MUSTER_SEED").map_or_else(|| 0..number("MUSTER_SEEDS").unwrap_or(default), |seed| seed..seed + 1)
}

/// Lives of all `seeds`, as many at a time as there are cores.
pub(crate) fn live_all<E: Send>(seeds: Range<u64>, live: impl Fn(u64) -> E + Sync) -> Vec<(u64, E)> {
    let next = AtomicU64::new(seeds.start);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let mut lives = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return lives;
                }
                lives.push((seed, live(seed)));
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a life ends")).collect()
    })
}

/// Says what a simulation came to, past the harness, which would keep it to itself: how many seeds held is worth knowing
/// of tests that pass.
pub(crate) fn say(words: &str) {
    // Nothing is lost but words if nobody can hear them.
    _ = std::io::stderr().write_all(format!("{words}\n").as_bytes());
}
