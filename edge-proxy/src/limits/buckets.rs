//! What each of many has used of its rates lately. Pure: no clock, no I/O.
//!
//! Bounded: places are in sets of [`WAYS`], and whom a keyed hash leads to a full set takes the place of the one
//! there that was seen longest ago. Who is thrown out begins with nothing used when it comes back: a flood
//! from forged sources makes the limits of others laxer for a moment, never stricter.
//!
//! Several threads may count in one memory. Each set has a lock, held for a few instructions: they meet there when packets of
//! one source come to two of them at the same moment.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Rates;

/// Places of a set.
const WAYS: usize = 8;
/// Whatever the rate, a packet of the largest size can pass by itself.
pub(crate) const LEAST_BURST_BYTES: u64 = 65_507;

/// What something costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) packets: u32,
    pub(super) bytes: u64,
    pub(super) new_flows: u32,
}

impl Cost {
    /// What a packet of `bytes` costs.
    pub(super) fn packet(bytes: usize) -> Self {
        Self { packets: 1, bytes: bytes as u64, new_flows: 0 }
    }
}

/// Of what there was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Packets,
    Bytes,
    NewFlows,
}

/// The memory of one kind of source.
pub(super) struct Buckets {
    places: usize,
    hasher: RandomState,
    // Made when the first is noted: most edges have no limits.
    sets: OnceLock<Vec<Mutex<[Bucket; WAYS]>>>,
    began: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tag: u64,
    seen_ms: u64,
    packets: f32,
    bytes: f32,
    new_flows: f32,
}

impl Buckets {
    /// Nothing used yet; `places` are told apart.
    pub(super) fn new(places: usize, now: Instant) -> Self {
        Self { places, hasher: RandomState::new(), sets: OnceLock::new(), began: now }
    }

    /// Takes `cost` from what `key` may use at `rates`. If it is more than is left of one of them, nothing is taken.
    pub(super) fn take(&self, now: Instant, key: impl Hash, rates: &Rates, cost: Cost) -> Result<(), Over> {
        if *rates == Rates::default() {
            return Ok(());
        }
        self.with(now, key, rates, |bucket| bucket.take(rates, cost))
    }

    /// How long until `key` may use `cost` at `rates`, if it may not now. Takes nothing.
    pub(super) fn wait(&self, now: Instant, key: impl Hash, rates: &Rates, cost: Cost) -> Option<Duration> {
        if *rates == Rates::default() {
            return None;
        }
        let (_, wait_s) = self.with(now, key, rates, |bucket| bucket.over(rates, cost))?;
        Some(Duration::try_from_secs_f32(wait_s).unwrap_or(Duration::MAX))
    }

    /// Does `what` with what `key` has used at `rates`, as of now.
    fn with<T>(&self, now: Instant, key: impl Hash, rates: &Rates, what: impl FnOnce(&mut Bucket) -> T) -> T {
        let none = || Mutex::new([Bucket::default(); WAYS]);
        let sets =
            self.sets.get_or_init(|| std::iter::repeat_with(none).take(self.places.div_ceil(WAYS)).collect());
        // From 1: 0 is a place that nobody has taken, which goes first.
        let now_ms = 1 + now.saturating_duration_since(self.began).as_millis() as u64;
        let tag = self.hasher.hash_one(key);
        // What a thread that died has left is whole: each change is of one number.
        let mut set = sets[tag as usize % sets.len()].lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = Bucket::of(&mut set, tag, now_ms);
        bucket.refill(now_ms, rates);
        what(bucket)
    }
}

impl Bucket {
    /// The place of `tag` in its set.
    fn of(set: &mut [Self; WAYS], tag: u64, now_ms: u64) -> &mut Self {
        let oldest = (0..WAYS).min_by_key(|at| set[*at].seen_ms).unwrap_or(0);
        let known = set.iter().position(|bucket| bucket.tag == tag);
        let bucket = &mut set[known.unwrap_or(oldest)];
        if known.is_none() {
            *bucket = Self { tag, seen_ms: now_ms, ..Self::default() };
        }
        bucket
    }

    fn refill(&mut self, now_ms: u64, rates: &Rates) {
        let passed_s = now_ms.saturating_sub(self.seen_ms) as f32 / 1_000.0;
        // Another thread's now may be a moment later.
        self.seen_ms = self.seen_ms.max(now_ms);
        for (used, rate) in [
            (&mut self.packets, rates.packets as f32),
            (&mut self.bytes, rates.bytes as f32),
            (&mut self.new_flows, rates.new_flows as f32),
        ] {
            *used = (*used - passed_s * rate).max(0.0);
        }
    }

    /// What of `cost` is more than is left, and for how many seconds it will be.
    fn over(&self, rates: &Rates, cost: Cost) -> Option<(Over, f32)> {
        // What costs nothing is not too much, even where changed rates have left less than nothing.
        let over = |used: f32, cost: f32, rate: f32, burst: f32| {
            let excess = used + cost - burst;
            (rate > 0.0 && cost > 0.0 && excess > 0.0).then(|| excess / rate)
        };
        let (packets, new_flows) = (rates.packets as f32, rates.new_flows as f32);
        if let Some(wait_s) = over(self.packets, cost.packets as f32, packets, packets) {
            return Some((Over::Packets, wait_s));
        }
        let bytes_burst = rates.bytes.max(LEAST_BURST_BYTES) as f32;
        if let Some(wait_s) = over(self.bytes, cost.bytes as f32, rates.bytes as f32, bytes_burst) {
            return Some((Over::Bytes, wait_s));
        }
        let wait_s = over(self.new_flows, cost.new_flows as f32, new_flows, new_flows)?;
        Some((Over::NewFlows, wait_s))
    }

    fn take(&mut self, rates: &Rates, cost: Cost) -> Result<(), Over> {
        if let Some((over, _)) = self.over(rates, cost) {
            return Err(over);
        }
        self.packets += cost.packets as f32;
        self.bytes += cost.bytes as f32;
        self.new_flows += cost.new_flows as f32;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Cost = Cost { packets: 1, bytes: 100, new_flows: 0 };

    fn rates(packets: u32, bytes: u64, new_flows: u32) -> Rates {
        Rates { packets, bytes, new_flows }
    }

    fn passed(buckets: &Buckets, now: Instant, key: u32, rates: &Rates, tries: u32) -> u32 {
        (0..tries).filter(|_| buckets.take(now, key, rates, PACKET).is_ok()).count() as u32
    }

    #[test]
    fn a_second_of_packets_at_once_and_then_the_rate() {
        let start = Instant::now();
        let (buckets, rates) = (Buckets::new(64, start), rates(10, 0, 0));
        assert_eq!(passed(&buckets, start, 1, &rates, 50), 10);
        assert_eq!(passed(&buckets, start, 2, &rates, 50), 10, "each has its own");
        assert_eq!(buckets.take(start, 1, &rates, PACKET), Err(Over::Packets));
        assert_eq!(passed(&buckets, start + Duration::from_millis(500), 1, &rates, 50), 5);
        assert_eq!(
            passed(&buckets, start + Duration::from_mins(1), 1, &rates, 50),
            10,
            "no more is saved up"
        );
    }

    #[test]
    fn free_places_go_before_those_just_taken() {
        let start = Instant::now();
        let (buckets, rates) = (Buckets::new(WAYS, start), rates(10, 0, 0));
        for key in 0..WAYS as u32 {
            assert_eq!(passed(&buckets, start, key, &rates, 50), 10);
        }
        for key in 0..WAYS as u32 {
            assert_eq!(passed(&buckets, start, key, &rates, 50), 0, "{key} is still known");
        }
    }

    #[test]
    fn each_rate_is_held_by_itself() {
        let now = Instant::now();
        let buckets = Buckets::new(64, now);
        let flow = Cost { new_flows: 1, ..Cost::default() };
        assert_eq!(buckets.take(now, 1, &rates(0, 0, 1), flow), Ok(()));
        assert_eq!(buckets.take(now, 1, &rates(0, 0, 1), flow), Err(Over::NewFlows));
        assert_eq!(buckets.take(now, 1, &rates(0, 0, 1), PACKET), Ok(()));
        let largest = Cost { packets: 1, bytes: LEAST_BURST_BYTES, new_flows: 0 };
        assert_eq!(buckets.take(now, 2, &rates(0, 1_000, 0), largest), Ok(()), "the largest packet can pass");
        assert_eq!(buckets.take(now, 2, &rates(0, 1_000, 0), PACKET), Err(Over::Bytes));
        assert_eq!(passed(&buckets, now, 3, &Rates::default(), 1_000), 1_000);
    }

    #[test]
    fn changed_rates_count_from_what_was_used() {
        let now = Instant::now();
        let buckets = Buckets::new(64, now);
        assert_eq!(passed(&buckets, now, 1, &rates(10, 0, 0), 50), 10);
        assert_eq!(passed(&buckets, now, 1, &rates(30, 0, 0), 50), 20);
        assert_eq!(passed(&buckets, now, 1, &rates(5, 0, 0), 50), 0);
    }

    #[test]
    fn what_is_too_much_fits_after_its_wait_and_asking_takes_nothing() {
        let (start, rates) = (Instant::now(), rates(10, 1_000, 0));
        let buckets = Buckets::new(64, start);
        let half = Cost { packets: 1, bytes: LEAST_BURST_BYTES / 2, new_flows: 0 };
        assert!((0..100).all(|_| buckets.wait(start, 1, &rates, half).is_none()));
        assert_eq!(buckets.take(start, 1, &rates, half), Ok(()));
        assert_eq!(buckets.take(start, 1, &rates, half), Ok(()));
        let wait = buckets.wait(start, 1, &rates, half).expect("one byte is left");
        assert_eq!(wait.as_secs(), half.bytes / 1_000);
        let (sooner, then) = (start + wait / 2, start + wait + Duration::from_millis(1));
        assert_eq!(buckets.take(sooner, 1, &rates, half), Err(Over::Bytes));
        assert_eq!(buckets.wait(then, 1, &rates, half), None);
        assert_eq!(buckets.take(then, 1, &rates, half), Ok(()));
        assert_eq!(buckets.wait(then, 1, &Rates::default(), half), None, "no rates, no wait");
    }

    #[test]
    fn lowered_rates_of_packets_hold_up_no_new_flow() {
        let (buckets, now) = (Buckets::new(64, Instant::now()), Instant::now());
        assert_eq!(passed(&buckets, now, 1, &rates(30, 0, 1), 50), 30);
        let flow = Cost { new_flows: 1, ..Cost::default() };
        assert_eq!(buckets.take(now, 1, &rates(5, 0, 1), flow), Ok(()));
    }

    #[test]
    fn a_flood_of_sources_neither_grows_it_nor_throttles_others() {
        let start = Instant::now();
        let (buckets, rates) = (Buckets::new(64, start), rates(10, 0, 0));
        for source in 0..10_000 {
            let now = start + Duration::from_millis(u64::from(source));
            assert_eq!(passed(&buckets, now, source, &rates, 1), 1);
        }
        assert_eq!(buckets.sets.get().map_or(0, Vec::len) * WAYS, 64);
        let now = start + Duration::from_secs(11);
        assert_eq!(passed(&buckets, now, 99_999, &rates, 50), 10);
    }

    #[test]
    fn the_least_recently_seen_makes_room() {
        let mut set = [Bucket::default(); WAYS];
        for tag in 1..=WAYS as u64 {
            Bucket::of(&mut set, tag, tag);
        }
        // Found again, and so seen last.
        Bucket::of(&mut set, 1, 100).refill(100, &rates(1, 0, 0));
        Bucket::of(&mut set, 99, 101);
        let tags: Vec<u64> = set.iter().map(|bucket| bucket.tag).collect();
        assert!(tags.contains(&1) && tags.contains(&99) && !tags.contains(&2), "{tags:?}");
    }
}
