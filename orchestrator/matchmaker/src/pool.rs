//! The tickets that search, sorted so that those near to each other are found without looking at the others.
//!
//! Tickets that must have the same texts (rules `same`) share a bucket, and in a bucket they are sorted by the number
//! that matters most to the queue. A ticket is led from when it comes and whenever something relaxes for it, so that
//! work follows arrivals and not the number of those who wait.

mod others;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::queue::{Asks, Queue};
use crate::rules::common;
use crate::ticket::{Ticket, TicketError, TicketKey};
use muster_protocol::api::{Priority, Within};

/// Neighbours on each side that a match is looked for among, or as many as a match has players.
const MIN_KEPT: usize = 32;
/// Tickets looked at for each neighbour kept.
const SEEN_PER_KEPT: usize = 8;

/// Position of a ticket in its pool.
pub(crate) type Slot = u32;

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

/// When a ticket is to lead, and who leads first of those that are due.
type Due = (u64, Reverse<Priority>, u64, Slot);

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) near: Near,
    bucket: usize,
    due_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Bucket {
    near: BTreeSet<(Near, Slot)>,
    ages: BTreeSet<(u64, Slot)>,
}

/// The tickets of one queue that search.
#[derive(Debug)]
pub struct Pool {
    pub(crate) queue: Queue,
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    by_key: BTreeMap<TicketKey, Slot>,
    buckets: Vec<Bucket>,
    by_texts: BTreeMap<Vec<String>, usize>,
    due: BTreeSet<Due>,
}

impl Pool {
    /// An empty pool.
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            entries: Vec::new(),
            free: Vec::new(),
            by_key: BTreeMap::new(),
            buckets: Vec::new(),
            by_texts: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The queue it is of.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether one of the `most` tickets that are first by their keys can never play in any of `regions`: it is too far
    /// from each, however long it waits.
    pub fn any_out_of_reach(&self, regions: &[&str], most: usize) -> bool {
        let reaches = |ticket: &Ticket, region: &str| {
            self.queue.rules.iter().all(|rule| match &rule.asks {
                Asks::Latency { most } => f64::from(ticket.latency(region)) <= most.last(),
                _ => true,
            })
        };
        let mut first = self.by_key.values().take(most).map(|slot| &self.entry(*slot).ticket);
        first.any(|ticket| !regions.iter().any(|region| reaches(ticket, region)))
    }

    /// How many tickets search.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes a ticket in. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`TicketError`] if it can never be matched here.
    pub fn insert(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        self.queue.admits(&ticket)?;
        if self.by_key.contains_key(&ticket.key) {
            return Ok(());
        }
        let primary = self.queue.primary();
        // Without a number to be near by, those who came at about the same time are near.
        let near = primary.map_or(ticket.entered_ms as f64, |(at, party)| ticket.number(at, party));
        let bucket = self.bucket_of(&ticket);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as Slot
        });
        self.by_key.insert(ticket.key, slot);
        self.buckets[bucket].near.insert((Near(near), slot));
        self.buckets[bucket].ages.insert((ticket.entered_ms, slot));
        let entered_ms = ticket.entered_ms;
        self.entries[slot as usize] = Some(Entry { ticket, near: Near(near), bucket, due_ms: None });
        self.schedule(slot, Some(entered_ms));
        Ok(())
    }

    /// Takes a ticket out; `None` if it is not there.
    pub fn remove(&mut self, key: TicketKey) -> Option<Ticket> {
        let slot = self.by_key.remove(&key)?;
        self.schedule(slot, None);
        let entry = self.entries[slot as usize].take()?;
        let bucket = &mut self.buckets[entry.bucket];
        bucket.near.remove(&(entry.near, slot));
        bucket.ages.remove(&(entry.ticket.entered_ms, slot));
        self.free.push(slot);
        Some(entry.ticket)
    }

    /// When the pool has something to do next, Unix milliseconds.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, ..)| *due_ms)
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.entries[slot as usize].as_ref().expect("a slot in an index holds a ticket")
    }

    /// The next ticket to lead at `now_ms`, which is due no more.
    pub(crate) fn next_leader(&mut self, now_ms: u64) -> Option<Slot> {
        let slot = self.due.first().filter(|(due_ms, ..)| *due_ms <= now_ms).map(|(.., slot)| *slot)?;
        self.schedule(slot, None);
        Some(slot)
    }

    /// Has a ticket lead at `due_ms`, or not until somebody comes who is near to it.
    pub(crate) fn schedule(&mut self, slot: Slot, due_ms: Option<u64>) {
        let Some(entry) = self.entries[slot as usize].as_mut() else { return };
        let of = |due_ms| (due_ms, Reverse(entry.ticket.priority), entry.ticket.entered_ms, slot);
        if let Some(before) = entry.due_ms {
            self.due.remove(&of(before));
        }
        if let Some(due_ms) = due_ms {
            self.due.insert(of(due_ms));
        }
        entry.due_ms = due_ms;
    }

    fn bucket_of(&mut self, ticket: &Ticket) -> usize {
        let mut texts = Vec::new();
        for rule in &self.queue.rules {
            if let Asks::Same { attribute } = rule.asks {
                // A party that differs in itself finds nobody, which its explanation says.
                texts.push(ticket.texts(attribute).next().unwrap_or_default().to_owned());
            }
        }
        if let Some(bucket) = self.by_texts.get(&texts) {
            return *bucket;
        }
        self.buckets.push(Bucket::default());
        self.by_texts.insert(texts, self.buckets.len() - 1);
        self.buckets.len() - 1
    }

    /// The wait of the oldest that a ticket may meet, in milliseconds.
    pub(crate) fn oldest_wait_near(&self, slot: Slot, now_ms: u64) -> u64 {
        let ages = &self.buckets[self.entry(slot).bucket].ages;
        ages.first().map_or(0, |(entered_ms, _)| now_ms.saturating_sub(*entered_ms))
    }

    /// Those near to a ticket that it could play with, and itself, by their number.
    pub(crate) fn neighbours(&self, slot: Slot, now_ms: u64) -> Vec<Slot> {
        let entry = self.entry(slot);
        let wait_ms = self.oldest_wait_near(slot, now_ms);
        let reach = self.reach(wait_ms);
        let most = self.queue.sizes.first().copied().unwrap_or(1);
        let kept = MIN_KEPT.max(most);
        let near = &self.buckets[entry.bucket].near;
        let here = (entry.near, slot);
        let suits = |other: &Slot| {
            let theirs = &self.entry(*other).ticket;
            entry.ticket.players.len() + theirs.players.len() <= most
                && self.may_meet(&entry.ticket, theirs, wait_ms)
        };
        let in_reach = |(number, _): &&(Near, Slot)| (number.0 - entry.near.0).abs() <= reach;
        let below = near.range(..here).rev().take_while(in_reach).take(kept * SEEN_PER_KEPT);
        let mut found: Vec<Slot> = below.map(|(_, slot)| *slot).filter(suits).take(kept).collect();
        found.reverse();
        found.push(slot);
        let above = near.range(here..).skip(1).take_while(in_reach).take(kept * SEEN_PER_KEPT);
        found.extend(above.map(|(_, slot)| *slot).filter(suits).take(kept));
        found
    }

    /// How far apart numbers may be after a wait.
    pub(crate) fn reach(&self, wait_ms: u64) -> f64 {
        let primary = self.queue.primary();
        self.queue
            .rules
            .iter()
            .find_map(|rule| match &rule.asks {
                Asks::Spread { attribute, most, within: Within::Match, party }
                    if primary == Some((*attribute, *party)) =>
                {
                    Some(most.at(wait_ms))
                }
                _ => None,
            })
            .unwrap_or(f64::INFINITY)
    }

    /// Whether two could be in one match, as far as the two of them tell.
    fn may_meet(&self, one: &Ticket, other: &Ticket, wait_ms: u64) -> bool {
        let pair = [one, other];
        one.accepts(other)
            && self.queue.rules.iter().all(|rule| match &rule.asks {
                Asks::Common { attribute, at_least } => {
                    common(&pair, *attribute) as f64 >= at_least.at(wait_ms)
                }
                _ => true,
            })
    }
}
