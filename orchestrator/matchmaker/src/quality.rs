//! How good a match is, from 0 to 1: what a queue's weights say of skill, latency and wait.

use crate::queue::{Asks, Queue};
use crate::rules::{oldest_wait, spread};
use crate::ticket::Ticket;

/// Round trip that counts as nothing good, in milliseconds, where no rule says one.
const WORST_LATENCY_MS: f64 = 250.0;
/// Wait that counts in full, in milliseconds.
const LONG_WAIT_MS: f64 = 60_000.0;

impl Queue {
    /// The quality of a match of `members` in `region`. Skill is how near the players are by the queue's first rule
    /// about numbers, against how far that rule lets them be apart in the end.
    pub fn quality(&self, members: &[&Ticket], region: &str, now_ms: u64) -> f64 {
        let weights = self.weights;
        let total = weights.skill + weights.latency + weights.wait;
        if total <= 0.0 {
            return 1.0;
        }
        let skill = self.primary().map_or(1.0, |(attribute, party)| {
            let limit = self.rules.iter().find_map(|rule| match &rule.asks {
                Asks::Spread { most, .. } | Asks::Gap { most, .. } => Some(most.last()),
                _ => None,
            });
            let apart = spread(members.iter().map(|ticket| ticket.number(attribute, party)));
            near(apart, limit.unwrap_or(0.0))
        });
        let cap = self.rules.iter().find_map(|rule| match &rule.asks {
            Asks::Latency { most } => Some(most.last()),
            _ => None,
        });
        let worst = members.iter().map(|ticket| ticket.latency(region)).max().unwrap_or(0);
        let latency = near(f64::from(worst), cap.unwrap_or(WORST_LATENCY_MS));
        let wait = (oldest_wait(members, now_ms) as f64 / LONG_WAIT_MS).min(1.0);
        (weights.skill * skill + weights.latency * latency + weights.wait * wait) / total
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
