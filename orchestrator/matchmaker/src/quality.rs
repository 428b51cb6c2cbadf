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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{player, queue};
    use muster_protocol::api::Value;

    const NOW_MS: u64 = 1_000_000;

    #[test]
    fn quality_is_what_is_written_of_it() {
        let queue = queue(
            r#"
            name = "pairs"
            fleet = "arena"
            players = 2
            weights = { skill = 5, latency = 3, wait = 2 }
            [attributes]
            skill = { kind = "number", default = 0 }
            [[rules]]
            name = "near"
            kind = "spread"
            attribute = "skill"
            most = 100
            expand = [{ after_s = 10, to = 200 }]
            [[rules]]
            name = "not laggy"
            kind = "latency"
            most = 80
            expand = [{ after_s = 10, to = 160 }]
            "#,
        );
        let ticket = |key, skill: f64, latency_ms, waited_ms| Ticket {
            latencies_ms: [("eu".to_owned(), latency_ms)].into(),
            ..Ticket::new(
                key,
                vec![player(&queue, format!("p{key}"), &[("skill", Value::Number(skill))])],
                NOW_MS - waited_ms,
            )
        };
        let (one, other) = (ticket(1, 10.0, 20, 30_000), ticket(2, 60.0, 40, 1_000));
        // Apart 50 of 200, worst 40 of 160, oldest 30 of 60 s.
        let expected = (5.0 * 0.75 + 3.0 * 0.75 + 2.0 * 0.5) / 10.0;
        let quality = queue.quality(&[&one, &other], "eu", NOW_MS);
        assert!((quality - expected).abs() < 1e-9, "{quality} is not {expected}");
        let (far, old) = (ticket(3, 500.0, 900, 0), ticket(4, 10.0, 20, 90_000));
        // Nothing is worse than 0, and no wait counts more than a minute.
        let quality = queue.quality(&[&far, &old], "eu", NOW_MS);
        assert!((quality - 0.2).abs() < 1e-9, "{quality} is not 0.2");
    }
}
