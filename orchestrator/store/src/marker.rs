//! Idempotency markers: how a transaction whose commit was never answered is found out.
//!
//! A cluster may lose the answer to a commit: the transaction is there, or is not, or comes to be a
//! moment later. Every attempt of one run therefore reads and writes the same key, the run's marker.
//! So at most one attempt ever commits, and the next attempt sees from the marker which one did. That a
//! run once went unanswered is remembered to its end: an attempt that then fails for another reason
//! must not be reported as "nothing was written" before the marker has settled it.
//!
//! Markers lie behind the keys of users, sharded by a random byte, so that they make no hot spot, and
//! ordered by age within a shard, so that old ones are cleared as ranges.

use tokio::sync::oneshot;

use crate::limits::KEYSPACE_END;
use crate::versionstamp::{Template, VERSIONSTAMP_BYTES, Versionstamp};

/// Where markers lie, behind [`KEYSPACE_END`].
const KIND: u8 = b'm';
/// Shards of the markers.
const SHARDS: u8 = 16;
/// Buckets that are kept, the one being written included.
const KEPT_BUCKETS: u64 = 10;

/// What is known of a run's attempts.
pub(crate) struct Marker<T> {
    key: Option<Vec<u8>>,
    /// Age of the first attempt.
    bucket: u64,
    attempts: u32,
    unanswered: Vec<Unanswered<T>>,
}

/// An attempt whose commit was not answered.
struct Unanswered<T> {
    attempt: u32,
    /// What its closure returned; `None` if it only kept the others from committing.
    value: Option<T>,
    stamps: Vec<oneshot::Sender<Versionstamp>>,
}

impl<T> Marker<T> {
    pub(crate) fn new() -> Self {
        Self { key: None, bucket: 0, attempts: 0, unanswered: Vec::new() }
    }

    /// Whether an attempt may have committed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// The marker's key, once there is one.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Whether others may have cleared it when the newest markers are in `bucket`, a bucket early: then that it is not
    /// there says nothing.
    pub(crate) fn may_be_cleared(&self, bucket: u64) -> bool {
        bucket + 1 >= self.bucket + KEPT_BUCKETS
    }

    /// Key and value of the next attempt's claim. `bucket` is the age of the first attempt.
    pub(crate) fn claim(&mut self, bucket: u64, random: [u8; 16]) -> (&[u8], Template) {
        self.attempts += 1;
        let value = [[0; VERSIONSTAMP_BYTES].as_slice(), &self.attempts.to_le_bytes()].concat();
        let value = Template::new(&value, 0).expect("the stamp comes first");
        if self.key.is_none() {
            self.bucket = bucket;
        }
        let key = self.key.get_or_insert_with(|| {
            [shard(random[0] % SHARDS).as_slice(), &bucket.to_be_bytes(), &random].concat()
        });
        (key, value)
    }

    /// The attempt claimed last went unanswered.
    pub(crate) fn doubt(&mut self, value: Option<T>, stamps: Vec<oneshot::Sender<Versionstamp>>) {
        self.unanswered.push(Unanswered { attempt: self.attempts, value, stamps });
    }

    /// What the attempt returned whose claim was found: `None` if it was one that returned nothing.
    pub(crate) fn settle(self, found: &[u8]) -> Option<T> {
        let (stamp, attempt) = found.split_first_chunk::<VERSIONSTAMP_BYTES>()?;
        let attempt = u32::from_le_bytes(attempt.try_into().ok()?);
        let won = self.unanswered.into_iter().find(|unanswered| unanswered.attempt == attempt)?;
        for asked in won.stamps {
            // Whoever asked may not care any more.
            let _ = asked.send(Versionstamp::from_bytes(*stamp));
        }
        won.value
    }
}

fn shard(shard: u8) -> Vec<u8> {
    [KEYSPACE_END, &[KIND, shard]].concat()
}

/// Ranges of markers that no run can need any more when the newest are in `bucket`.
pub(crate) fn outdated(bucket: u64) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let oldest_kept = bucket.saturating_sub(KEPT_BUCKETS - 1);
    (0..SHARDS).map(move |number| {
        let begin = shard(number);
        let end = [begin.as_slice(), &oldest_kept.to_be_bytes()].concat();
        (begin, end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attempts_of_a_run_share_a_key() {
        let mut marker = Marker::<()>::new();
        let first = marker.claim(7, [3; 16]).0.to_vec();
        assert_eq!(marker.claim(8, [4; 16]).0, first);
        assert!(first.as_slice() > KEYSPACE_END && first.as_slice() < b"\xff".as_slice());
    }

    #[test]
    fn what_was_found_tells_which_attempt_it_was() {
        let mut marker = Marker::new();
        let stamp = Versionstamp::new(9, 1);
        for attempt in 1..=3_u32 {
            let (_, value) = marker.claim(0, [0; 16]);
            marker.doubt((attempt != 2).then_some(attempt), Vec::new());
            if attempt == 3 {
                assert_eq!(marker.settle(&value.filled(stamp)), Some(3));
                return;
            }
        }
    }

    #[test]
    fn only_old_buckets_are_outdated() {
        let mut marker = Marker::<()>::new();
        let key = marker.claim(20, [3; 16]).0.to_vec();
        let holds = |bucket| outdated(bucket).any(|(begin, end)| begin <= key && key < end);
        assert!(!marker.may_be_cleared(20) && !marker.may_be_cleared(18 + KEPT_BUCKETS));
        assert!(marker.may_be_cleared(19 + KEPT_BUCKETS), "before it may be");
        assert!(!holds(20) && !holds(20 + KEPT_BUCKETS - 1) && holds(20 + KEPT_BUCKETS));
    }
}
