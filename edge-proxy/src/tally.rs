//! Counting: packets, bytes, and drops by reason.
//!
//! A UDP worker counts into a [`Tally`], plain numbers of its own, and adds it when the turn is over to [`Counts`] that nobody
//! else writes: it reads and stores, so that no core waits for another's and nothing is locked, however many drops a
//! flood makes. Who reports, or is scraped, sums up. What is no worker's, such as connections, adds to counts that all
//! share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use muster_protocol::edge::DropCount;

use crate::drops::DropReason;

/// Packets, or pieces of streams, that went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// How many.
    pub(crate) packets: u64,
    /// Bytes of payload in all of them.
    pub(crate) bytes: u64,
}

impl Passed {
    /// One of `bytes`.
    pub(crate) fn one(bytes: usize) -> Self {
        Self { packets: 1, bytes: bytes as u64 }
    }

    /// One of `bytes` more.
    pub(crate) fn note(&mut self, bytes: usize) {
        self.add(Self::one(bytes));
    }

    fn add(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }

    fn since(self, earlier: Self) -> Self {
        Self { packets: self.packets - earlier.packets, bytes: self.bytes - earlier.bytes }
    }
}

/// What one thread has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// What went to servers.
    pub(crate) to_servers: Passed,
    /// What went to clients.
    pub(crate) to_clients: Passed,
    // By the reasons' numbers.
    drops: [u64; DropReason::COUNT],
    // Most turns have none.
    has_drops: bool,
}

impl Default for Tally {
    fn default() -> Self {
        let none = Passed::default();
        Self { to_servers: none, to_clients: none, drops: [0; DropReason::COUNT], has_drops: false }
    }
}

impl Tally {
    /// One drop more.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// So many drops more.
    pub(crate) fn drop_many(&mut self, reason: DropReason, count: u64) {
        self.drops[reason as usize] += count;
        self.has_drops |= count > 0;
    }

    /// All of `more`, too.
    pub(crate) fn add(&mut self, more: &Self) {
        self.to_servers.add(more.to_servers);
        self.to_clients.add(more.to_clients);
        for (reason, count) in more.drops() {
            self.drop_many(reason, count);
        }
    }

    /// Nothing any more.
    pub(crate) fn clear(&mut self) {
        let none = Passed::default();
        (self.to_servers, self.to_clients) = (none, none);
        if std::mem::take(&mut self.has_drops) {
            self.drops.fill(0);
        }
    }

    /// What is in this and was not in `earlier`, which this goes on from.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = Self {
            to_servers: self.to_servers.since(earlier.to_servers),
            to_clients: self.to_clients.since(earlier.to_clients),
            ..Self::default()
        };
        for (reason, count) in self.drops() {
            since.drop_many(reason, count - earlier.drops[reason as usize]);
        }
        since
    }

    /// Drops by reason, without reasons that have none.
    pub(crate) fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let all: &[_] = if self.has_drops { DropReason::ALL } else { &[] };
        all.iter().map(|reason| (*reason, self.drops[*reason as usize])).filter(|(_, count)| *count > 0)
    }

    /// Drops by reason as they are reported.
    pub(crate) fn drops_told(&self) -> Vec<DropCount> {
        self.drops().map(|(reason, count)| DropCount { reason: reason.as_str().to_owned(), count }).collect()
    }
}

/// What has been counted so far, for all to read. On cache lines of its own (processors fetch two of 64 bytes at a time).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counts {
    // Packets and bytes.
    to_servers: [AtomicU64; 2],
    to_clients: [AtomicU64; 2],
    drops: [AtomicU64; DropReason::COUNT],
}

impl Default for Counts {
    fn default() -> Self {
        let none = || [const { AtomicU64::new(0) }; 2];
        let drops = [const { AtomicU64::new(0) }; DropReason::COUNT];
        Self { to_servers: none(), to_clients: none(), drops }
    }
}

impl Counts {
    /// Adds `tally`. To be called by one thread only, always the same, and together with none of the others that add.
    pub(crate) fn publish(&self, tally: &Tally) {
        for (here, more) in [(&self.to_servers, tally.to_servers), (&self.to_clients, tally.to_clients)] {
            raise(&here[0], more.packets);
            raise(&here[1], more.bytes);
        }
        for (reason, count) in tally.drops() {
            self.publish_drops(reason, count);
        }
    }

    /// Adds drops, as [`Counts::publish`] does.
    pub(crate) fn publish_drops(&self, reason: DropReason, count: u64) {
        raise(&self.drops[reason as usize], count);
    }

    /// Adds what went to servers. Anybody may.
    pub(crate) fn to_servers(&self, passed: Passed) {
        self.to_servers[0].fetch_add(passed.packets, Relaxed);
        self.to_servers[1].fetch_add(passed.bytes, Relaxed);
    }

    /// Adds what went to clients. Anybody may.
    pub(crate) fn to_clients(&self, passed: Passed) {
        self.to_clients[0].fetch_add(passed.packets, Relaxed);
        self.to_clients[1].fetch_add(passed.bytes, Relaxed);
    }

    /// Adds drops. Anybody may.
    pub(crate) fn drop_many(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].fetch_add(count, Relaxed);
    }

    /// Adds what is here to `sum`.
    pub(crate) fn add_to(&self, sum: &mut Tally) {
        let read = |[packets, bytes]: &[AtomicU64; 2]| Passed {
            packets: packets.load(Relaxed),
            bytes: bytes.load(Relaxed),
        };
        sum.to_servers.add(read(&self.to_servers));
        sum.to_clients.add(read(&self.to_clients));
        for (reason, count) in DropReason::ALL.iter().zip(&self.drops) {
            sum.drop_many(*reason, count.load(Relaxed));
        }
    }
}

/// Adds `more` to what only this thread writes.
fn raise(count: &AtomicU64, more: u64) {
    if more > 0 {
        count.store(count.load(Relaxed) + more, Relaxed);
    }
}

/// All that an edge has counted.
#[derive(Debug, Default)]
pub(crate) struct AllCounts {
    /// What is no UDP worker's.
    pub(crate) shared: Counts,
    // One for each worker; touched when one starts, and by who sums up.
    workers: Mutex<Vec<Arc<Counts>>>,
}

impl AllCounts {
    /// Counts for one more worker.
    pub(crate) fn of_new_worker(&self) -> Arc<Counts> {
        let counts = Arc::<Counts>::default();
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(counts.clone());
        counts
    }

    /// All together. None of it is ever less than it was.
    pub(crate) fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.shared.add_to(&mut sum);
        for worker in &*self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.add_to(&mut sum);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(scale: u64) -> Tally {
        let mut tally = Tally {
            to_servers: Passed { packets: scale, bytes: 100 * scale },
            to_clients: Passed { packets: 2 * scale, bytes: 300 * scale },
            ..Tally::default()
        };
        for (number, reason) in (1..).zip(DropReason::ALL) {
            tally.drop_many(*reason, number * scale);
        }
        tally
    }

    #[test]
    fn what_workers_publish_and_others_share_is_summed() {
        let all = AllCounts::default();
        assert_eq!(all.sum(), Tally::default());
        let workers = [all.of_new_worker(), all.of_new_worker()];
        std::thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| (0..1_000).for_each(|_| worker.publish(&tally(1))));
                scope.spawn(|| {
                    all.shared.to_servers(tally(1_000).to_servers);
                    all.shared.to_clients(tally(1_000).to_clients);
                    tally(1_000).drops().for_each(|(reason, count)| all.shared.drop_many(reason, count));
                });
            }
        });
        assert_eq!(all.sum(), tally(4_000));
        assert_eq!(all.sum().since(&tally(3_999)), tally(1));
        assert_eq!(all.sum().since(&all.sum()), Tally::default());
    }

    #[test]
    fn reasons_without_drops_are_not_told() {
        let mut tally = Tally::default();
        tally.drop_many(DropReason::Denied, 0);
        assert_eq!(tally.drops_told(), []);
        tally.drop(DropReason::ClientSend);
        tally.drop_many(DropReason::Denied, 3);
        let told: Vec<_> = tally.drops_told().into_iter().map(|drop| (drop.reason, drop.count)).collect();
        assert_eq!(told, [("denied".to_owned(), 3), ("client_send".to_owned(), 1)]);
    }
}
