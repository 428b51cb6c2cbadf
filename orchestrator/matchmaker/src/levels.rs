//! A queue's limits by how long the oldest of a match has waited: between two relaxations nothing changes, so that
//! forming compares small numbers and reads no rule.

use crate::queue::{Asks, Queue};

/// What pairs and regions are held against while a match is looked for. That a match holds every rule is for
/// [`Queue::allows`] to say.
#[derive(Debug)]
pub(crate) struct Levels {
    /// Waits at which something relaxes, in milliseconds, the shortest first.
    after_ms: Vec<u64>,
    /// By level, how far apart the numbers by which tickets are near may be.
    reach: Vec<f64>,
    /// By level, the longest round trip, in milliseconds.
    cap_ms: Vec<f64>,
}

impl Levels {
    pub(crate) fn of_queue(queue: &Queue) -> Self {
        let mut after_ms = Vec::new();
        let mut wait_ms = 0;
        // Bounded: every step is of one of at most MAX_RULES rules with MAX_STEPS each, or the fill wait.
        while let Some(next_ms) = queue.next_relaxation(wait_ms) {
            after_ms.push(next_ms);
            wait_ms = next_ms;
        }
        let waits = || std::iter::once(0).chain(after_ms.iter().copied());
        let reach = waits().map(|wait_ms| reach(queue, wait_ms)).collect();
        let cap_ms = waits().map(|wait_ms| cap(queue, wait_ms)).collect();
        Self { after_ms, reach, cap_ms }
    }

    /// The level of a wait in milliseconds, from 0.
    pub(crate) fn at(&self, wait_ms: u64) -> u16 {
        self.after_ms.partition_point(|after_ms| *after_ms <= wait_ms) as u16
    }

    /// The wait with which a level begins, in milliseconds.
    pub(crate) fn wait_ms(&self, level: u16) -> u64 {
        usize::from(level).checked_sub(1).map_or(0, |before| self.after_ms[before])
    }

    pub(crate) fn reach(&self, level: u16) -> f64 {
        self.reach[usize::from(level)]
    }

    pub(crate) fn cap_ms(&self, level: u16) -> f64 {
        self.cap_ms[usize::from(level)]
    }

    /// The level at which nothing relaxes any more.
    pub(crate) fn last(&self) -> u16 {
        self.after_ms.len() as u16
    }
}

/// How far apart the numbers by which tickets are near may be after a wait; infinite where no rule says.
fn reach(queue: &Queue, wait_ms: u64) -> f64 {
    let about = queue.rules.iter().filter(|rule| queue.is_about_primary(rule));
    let limits = about.filter_map(|rule| rule.asks.reach(|limit| limit.at(wait_ms)));
    limits.fold(f64::INFINITY, f64::min)
}

/// The longest round trip after a wait, in milliseconds; infinite where no rule says.
fn cap(queue: &Queue, wait_ms: u64) -> f64 {
    let limits = queue.rules.iter().filter_map(|rule| match &rule.asks {
        Asks::Latency { most } => Some(most.at(wait_ms)),
        _ => None,
    });
    limits.fold(f64::INFINITY, f64::min)
}
