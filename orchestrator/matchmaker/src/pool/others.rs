//! Looking at a pool's tickets for other ends than forming: an explanation's others, and who is out of reach.

use super::{Near, Pool, Slot};
use crate::queue::Asks;
use crate::ticket::{Ticket, TicketKey};

impl Pool {
    /// Where a ticket is.
    pub(crate) fn slot(&self, key: TicketKey) -> Option<Slot> {
        self.by_key.get(&key).copied()
    }

    /// Every ticket, in no order that means anything.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.entries.iter().flatten().map(|entry| &entry.ticket)
    }

    /// At most `most` other tickets: those that share its texts, the nearest by number first; then others.
    pub(crate) fn others(&self, slot: Slot, most: usize) -> Vec<Slot> {
        let own = self.entry(slot);
        let near = &self.buckets[own.bucket].near;
        let here = (own.near, slot);
        let mut below = near.range(..here).map(|(at, _)| at).rev().peekable();
        let mut above = near.range(here..).map(|(at, _)| at).skip(1).peekable();
        let distance = |at: &(Near, Slot)| (at.0.0 - own.near.0).abs();
        let mut found = Vec::new();
        while found.len() < most {
            let next = match (below.peek(), above.peek()) {
                (Some(low), Some(high)) if distance(low) <= distance(high) => below.next(),
                (Some(_), None) => below.next(),
                _ => above.next(),
            };
            let Some((_, slot)) = next else { break };
            found.push(*slot);
        }
        let rest = self.buckets.iter().enumerate().filter(|(at, _)| *at != own.bucket);
        let rest = rest.flat_map(|(_, bucket)| bucket.near.keys().map(|(_, slot)| *slot));
        found.extend(rest.take(most - found.len()));
        found
    }

    /// Whether one of `most` tickets can never play in any of `regions`: it is too far from each, however long it waits.
    pub fn any_out_of_reach(&self, regions: &[&str], most: usize) -> bool {
        let reaches = |ticket: &Ticket, region: &str| {
            self.queue.rules.iter().all(|rule| match &rule.asks {
                Asks::Latency { most } => f64::from(ticket.latency(region)) <= most.last(),
                _ => true,
            })
        };
        let slots = self.buckets.iter().flat_map(|bucket| bucket.near.keys().map(|(_, slot)| *slot));
        let mut tickets = slots.take(most).map(|slot| &self.entry(slot).ticket);
        tickets.any(|ticket| !regions.iter().any(|region| reaches(ticket, region)))
    }
}
