//! Who is near a ticket: the window of those it may play with, found without touching anybody else.
//!
//! What is asked of every neighbour lies in the index itself, side by side with the neighbours' numbers: reading a
//! hundred neighbours reads a few runs of memory, and a ticket whole only where a filter, a block list or tags must
//! be asked. That is what keeps the cost of a match nearly the same however many wait.

use std::ops::Bound::{Excluded, Unbounded};

use crate::pool::{Pool, Slot};
use crate::queue::{Asks, Queue};
use crate::rules::common;
use crate::ticket::{FAR, Ticket};
use muster_protocol::api::Priority;

/// Most regions offered at once: as many as a ticket may state its latency to.
pub const MAX_REGIONS: usize = 64;
/// Regions whose latency is kept in the index; of the others it is read from the ticket.
pub(crate) const INLINE_REGIONS: usize = 16;
/// A latency in the index that says to ask the ticket: it is as long or longer.
const LONG_MS: u16 = u16::MAX;
/// Neighbours on each side that a match is looked for among, or as many as a match has players.
const MIN_KEPT: usize = 24;
/// Tickets looked at for each neighbour kept.
const SEEN_PER_KEPT: usize = 8;
/// How often one that led in vain looks at twice as many as before.
const MAX_WIDENED: u32 = 6;
/// How often it also keeps twice as many.
const MAX_KEPT_WIDENED: u32 = 2;

/// A finite number that sorts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near(pub(crate) f64);

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What the index holds of a ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    pub(crate) entered_ms: u64,
    /// Regions that it can play in once everything has relaxed, one bit each.
    pub(crate) regions: u64,
    latencies_ms: [u16; INLINE_REGIONS],
    pub(crate) players: u16,
    pub(crate) priority: Priority,
    /// Whether it has a filter or blocks somebody.
    pub(crate) is_picky: bool,
}

impl Hot {
    pub(crate) fn of_ticket(ticket: &Ticket) -> Self {
        Self {
            entered_ms: ticket.entered_ms,
            regions: 0,
            latencies_ms: [LONG_MS; INLINE_REGIONS],
            players: ticket.players.len() as u16,
            priority: ticket.priority,
            is_picky: ticket.filter.is_some() || !ticket.blocks.is_empty(),
        }
    }

    /// Notes the round trip to a region, or that there is none; one within `cap_ms` can be played in.
    pub(crate) fn note(&mut self, region: usize, latency_ms: Option<u32>, cap_ms: f64) {
        let can_play = latency_ms.is_some_and(|latency_ms| f64::from(latency_ms) <= cap_ms);
        self.regions = self.regions & !(1 << region) | u64::from(can_play) << region;
        if let Some(noted) = self.latencies_ms.get_mut(region) {
            *noted = u16::try_from(latency_ms.unwrap_or(FAR)).unwrap_or(LONG_MS);
        }
    }
}

/// A neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) slot: Slot,
    pub(crate) near: f64,
    /// Of its wait.
    pub(crate) level: u16,
    pub(crate) hot: Hot,
}

/// Those a leader may play with, and itself, by their number.
pub(crate) struct Window {
    pub(crate) candidates: Vec<Candidate>,
    /// Position of the leader.
    pub(crate) leader: usize,
    /// Whether nobody in reach was left out.
    pub(crate) is_whole: bool,
}

impl Pool {
    /// The window of a ticket, of those who can play in a region of `open` that it can play in too. It looks further
    /// the more often it led in vain. `candidates` is memory to use again.
    pub(crate) fn window(
        &self,
        slot: Slot,
        now_ms: u64,
        open: u64,
        mut candidates: Vec<Candidate>,
    ) -> Window {
        let entry = self.entry(slot);
        let fruitless = entry.fruitless;
        candidates.clear();
        let index = &self.buckets[entry.bucket].near;
        let here = (entry.near, slot);
        let level = |hot: &Hot| self.levels.at(now_ms.saturating_sub(hot.entered_ms));
        let hot = *self.hot(slot);
        let own = Candidate { slot, near: entry.near.0, level: level(&hot), hot };
        let most = self.queue.sizes.first().copied().unwrap_or(1);
        let kept = MIN_KEPT.max(most) << fruitless.min(MAX_KEPT_WIDENED);
        let seen = (MIN_KEPT.max(most) * SEEN_PER_KEPT) << fruitless.min(MAX_WIDENED);
        let reach = self.levels.reach(self.levels.last());
        let mut is_whole = true;
        let mut gather = |side: &mut dyn Iterator<Item = (&(Near, Slot), &Hot)>| {
            let full = candidates.len() + kept;
            for (looked_at, ((near, slot), hot)) in side.enumerate() {
                if (near.0 - own.near).abs() > reach {
                    return;
                }
                if looked_at >= seen || candidates.len() >= full {
                    is_whole = false;
                    return;
                }
                let suits = usize::from(own.hot.players + hot.players) <= most
                    && own.hot.regions & hot.regions & open != 0
                    && self.may_meet((own.slot, &own.hot), (*slot, hot));
                if suits {
                    candidates.push(Candidate { slot: *slot, near: near.0, level: level(hot), hot: *hot });
                }
            }
        };
        gather(&mut index.range(..here).rev());
        gather(&mut index.range((Excluded(here), Unbounded)));
        candidates.push(own);
        // Nobody here has waited long enough for some of them.
        let oldest = candidates.iter().map(|candidate| candidate.level).max().unwrap_or_default();
        let reach = self.levels.reach(oldest);
        candidates.retain(|candidate| (candidate.near - own.near).abs() <= reach);
        candidates.sort_unstable_by_key(|candidate| (Near(candidate.near), candidate.slot));
        let leader = candidates.iter().position(|candidate| candidate.slot == slot);
        Window { candidates, leader: leader.expect("the leader is near itself"), is_whole }
    }

    /// What the index holds of a ticket.
    pub(crate) fn hot(&self, slot: Slot) -> &Hot {
        let entry = self.entry(slot);
        self.buckets[entry.bucket].near.get(&(entry.near, slot)).expect("a ticket is in its bucket's index")
    }

    /// Whether two could be in one match once everything has relaxed, as far as the two of them tell.
    pub(crate) fn may_meet(&self, (one, hot): (Slot, &Hot), (other, theirs): (Slot, &Hot)) -> bool {
        let is_picky = hot.is_picky || theirs.is_picky;
        if !is_picky && !self.queue.compares_tags() {
            return true;
        }
        let pair = [&self.entry(one).ticket, &self.entry(other).ticket];
        (!is_picky || pair[0].accepts(pair[1])) && self.queue.tags_allow(pair)
    }

    /// Round trip of a neighbour to a region, in milliseconds.
    pub(crate) fn latency_ms(&self, candidate: &Candidate, region: usize) -> u32 {
        match candidate.hot.latencies_ms.get(region) {
            Some(latency_ms) if *latency_ms < LONG_MS => u32::from(*latency_ms),
            _ => {
                let name = self.regions[region].as_deref();
                name.map_or(FAR, |name| self.entry(candidate.slot).ticket.latency(name))
            }
        }
    }
}

impl Queue {
    /// Whether a rule compares two tickets' tags.
    pub(crate) fn compares_tags(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.asks, Asks::Common { .. } | Asks::Apart { .. }))
    }

    fn tags_allow(&self, pair: [&Ticket; 2]) -> bool {
        self.rules.iter().all(|rule| match &rule.asks {
            Asks::Common { attribute, at_least } => common(&pair, *attribute) as f64 >= at_least.last(),
            Asks::Apart { attribute } => crate::rules::shared(&pair, *attribute) == 0,
            _ => true,
        })
    }
}
