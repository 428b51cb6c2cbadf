//! Decides which transactions may commit: those whose reads nobody has overwritten since.
//!
//! Pure: the time is passed in. It remembers the version of the last write to every key and range
//! written within the lifetime of a transaction, in epochs that are forgotten whole. A check looks
//! only at epochs with writes newer than the transaction's read version, usually one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::limits::{MAX_RESOLVER_ENTRIES, RESOLVER_EPOCH, TRANSACTION_LIFETIME};
use crate::local::conflicts::ConflictRanges;

/// Added to the lifetime before a write is forgotten, so that a transaction that asks at the last
/// moment is judged and not guessed at.
const GRACE: Duration = Duration::from_secs(1);
/// Entries after which an epoch is closed before its time.
const MAX_EPOCH_ENTRIES: usize = MAX_RESOLVER_ENTRIES / 8;

/// The resolver's answer for one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing it read has been overwritten.
    Commit,
    /// Something has.
    Conflict,
    /// It began before what the resolver remembers.
    TooOld,
}

/// Writes of one stretch of time. Points are kept apart from ranges because nearly all are points.
#[derive(Debug)]
struct Epoch {
    opened: Instant,
    last_write: Instant,
    newest: u64,
    points: BTreeMap<Bytes, u64>,
    /// A step function: from each key on, until the next, the version of the last range write.
    steps: BTreeMap<Bytes, u64>,
}

impl Epoch {
    fn new(now: Instant, newest: u64) -> Self {
        Self { opened: now, last_write: now, newest, points: BTreeMap::new(), steps: BTreeMap::new() }
    }

    fn entries(&self) -> usize {
        self.points.len() + self.steps.len()
    }

    fn step_at(&self, key: &[u8]) -> u64 {
        self.steps
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .map_or(0, |(_, version)| *version)
    }

    fn write_range(&mut self, begin: &Bytes, end: &Bytes, version: u64) {
        let after = self.step_at(end);
        let covered: Vec<Bytes> =
            self.steps.range::<Bytes, _>(begin..end).map(|(key, _)| key.clone()).collect();
        for key in covered {
            self.steps.remove(&key);
        }
        self.steps.insert(begin.clone(), version);
        self.steps.entry(end.clone()).or_insert(after);
    }

    fn key_written_since(&self, key: &Bytes, version: u64) -> bool {
        self.points.get(key).is_some_and(|written| *written > version) || self.step_at(key) > version
    }

    fn range_written_since(&self, begin: &Bytes, end: &Bytes, version: u64) -> bool {
        self.step_at(begin) > version
            || self.steps.range::<Bytes, _>(begin..end).any(|(_, written)| *written > version)
            || self.points.range::<Bytes, _>(begin..end).any(|(_, written)| *written > version)
    }
}

/// Last-write versions over keys and ranges of the last seconds.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// Oldest first.
    epochs: VecDeque<Epoch>,
    /// Transactions that read before this version cannot be judged.
    floor: u64,
}

impl Resolver {
    /// A resolver that remembers nothing up to `version`.
    pub(crate) fn new(version: u64) -> Self {
        Self { epochs: VecDeque::new(), floor: version }
    }

    /// Version of the last write it was told of.
    fn newest(&self) -> u64 {
        self.epochs.back().map_or(self.floor, |epoch| epoch.newest)
    }

    /// Forgets what no living transaction can conflict with. Call before each batch.
    pub(crate) fn advance(&mut self, now: Instant) {
        while let Some(oldest) = self.epochs.front() {
            let crowded = self.epochs.iter().map(Epoch::entries).sum::<usize>() > MAX_RESOLVER_ENTRIES;
            if !crowded && now.saturating_duration_since(oldest.last_write) <= TRANSACTION_LIFETIME + GRACE {
                break;
            }
            self.floor = self.floor.max(oldest.newest);
            self.epochs.pop_front();
        }
        let full = self.epochs.back().is_none_or(|epoch| {
            now.saturating_duration_since(epoch.opened) >= RESOLVER_EPOCH
                || epoch.entries() >= MAX_EPOCH_ENTRIES
        });
        if full {
            self.epochs.push_back(Epoch::new(now, self.newest()));
        }
    }

    /// Judges a transaction that read at `read_version`.
    pub(crate) fn check(&self, read_version: u64, reads: &ConflictRanges) -> Verdict {
        if read_version < self.floor && !reads.is_empty() {
            return Verdict::TooOld;
        }
        let overwritten =
            self.epochs.iter().rev().take_while(|epoch| epoch.newest > read_version).any(|epoch| {
                reads.keys.iter().any(|key| epoch.key_written_since(key, read_version))
                    || reads
                        .ranges
                        .iter()
                        .any(|(begin, end)| epoch.range_written_since(begin, end, read_version))
            });
        if overwritten { Verdict::Conflict } else { Verdict::Commit }
    }

    /// Remembers writes made at `version`, which never decreases.
    pub(crate) fn record<'a>(
        &mut self,
        now: Instant,
        version: u64,
        keys: impl Iterator<Item = &'a Bytes>,
        ranges: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    ) {
        if self.epochs.is_empty() {
            self.epochs.push_back(Epoch::new(now, self.newest()));
        }
        let epoch = self.epochs.back_mut().expect("an epoch was pushed above");
        epoch.last_write = now;
        epoch.newest = version;
        for key in keys {
            epoch.points.insert(key.clone(), version);
        }
        for (begin, end) in ranges {
            epoch.write_range(begin, end, version);
        }
    }

    /// Forgets everything, after a batch that was recorded did not come to be. `version` is the
    /// version the database is at.
    pub(crate) fn reset(&mut self, version: u64) {
        self.epochs.clear();
        self.floor = version;
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
