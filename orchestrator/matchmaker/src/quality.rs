//! How good a match is, from 0 to 1: what a queue's weights say of skill, latency and wait.

use crate::queue::{Asks, Queue};
use crate::relaxing::Relaxing;
use crate::rules::{oldest_wait, spread};
use crate::ticket::Ticket;
use muster_protocol::api::Weights;

/// Round trip that counts as nothing good, in milliseconds, where no rule says one.
const WORST_LATENCY_MS: f64 = 250.0;
/// Wait that counts in full, in milliseconds.
const LONG_WAIT_MS: f64 = 60_000.0;

/// What quality is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    weights: Weights,
    /// How far apart players are who are not near at all; `None` where no rule is about numbers.
    apart: Option<f64>,
    latency_ms: f64,
}

impl Worth {
    pub(crate) fn of_queue(queue: &Queue) -> Self {
        let cap = queue.rules.iter().find_map(|rule| match &rule.asks {
            Asks::Latency { most } => Some(most.last()),
            _ => None,
        });
        let apart = queue.primary_rule().and_then(|rule| rule.asks.reach(Relaxing::last));
        Self { weights: queue.weights, apart, latency_ms: cap.unwrap_or(WORST_LATENCY_MS) }
    }

    /// The quality of players who are so far apart, the worst round trip among whom is of so many milliseconds, and
    /// the oldest of whom has waited for so many.
    pub(crate) fn of(&self, apart: f64, worst_ms: u32, wait_ms: u64) -> f64 {
        let Weights { skill, latency, wait } = self.weights;
        let total = skill + latency + wait;
        if total <= 0.0 {
            return 1.0;
        }
        let by_skill = self.apart.map_or(1.0, |limit| near(apart, limit));
        let by_latency = near(f64::from(worst_ms), self.latency_ms);
        let by_wait = (wait_ms as f64 / LONG_WAIT_MS).min(1.0);
        (skill * by_skill + latency * by_latency + wait * by_wait) / total
    }
}

impl Queue {
    /// The quality of a match of `members` in `region`. Skill is how near the players are by the number that matters
    /// most to the queue, against how far the rule about it lets them be apart in the end.
    pub fn quality(&self, members: &[&Ticket], region: &str, now_ms: u64) -> f64 {
        let apart = self.primary().map_or(0.0, |(attribute, party)| {
            spread(members.iter().map(|ticket| ticket.number(attribute, party)))
        });
        let worst_ms = members.iter().map(|ticket| ticket.latency(region)).max().unwrap_or(0);
        Worth::of_queue(self).of(apart, worst_ms, oldest_wait(members, now_ms))
    }
}

/// 1 for nothing, 0 for `limit` and beyond.
fn near(distance: f64, limit: f64) -> f64 {
    if distance <= 0.0 {
        1.0
    } else if limit <= 0.0 {
        0.0
    } else {
        (1.0 - distance / limit).max(0.0)
    }
}
