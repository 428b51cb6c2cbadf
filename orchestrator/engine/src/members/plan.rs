//! Which leases to take, give and drop, from who lives and who has what: pure.
//!
//! Each shard belongs to the live worker of the newest release whose hash with the shard is greatest, so
//! that all come to the same answer without talking, and little moves when one comes or goes. Newest
//! release: in a rolling upgrade work moves to newer code and never back, so that no worker meets state
//! that it is too old to read.

use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::address::ShardIndex;
use crate::limits::SHARDS;
use crate::members::WorkerId;
use crate::members::view::Live;
use crate::records::LeaseRecord;

/// Something to do about a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Take it: nobody has it, or who has it is dead. `seen` is the lease's generation that was seen.
    Take { shard: ShardIndex, seen: u64 },
    /// Begin with it: it was given to this worker.
    Adopt { shard: ShardIndex, generation: u64 },
    /// Stop with it and give it to another.
    Give { shard: ShardIndex, to: WorkerId },
    /// Stop with it: another has taken it.
    Drop { shard: ShardIndex },
}

/// What is to be done by worker `me`, which holds `held` with these generations.
pub(super) fn plan(
    me: WorkerId,
    live: &[Live],
    leases: &BTreeMap<ShardIndex, LeaseRecord>,
    held: &BTreeMap<ShardIndex, u64>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for shard in 0..SHARDS {
        let lease = leases.get(&shard);
        let owner =
            lease.and_then(|lease| <[u8; 16]>::try_from(lease.owner.as_ref()).ok()).map(WorkerId::from_bytes);
        let generation = lease.map_or(0, |lease| lease.generation);
        let wanted = owner_of(shard, live);
        let mine = owner == Some(me);
        match held.get(&shard) {
            Some(holding) if !mine || *holding != generation => steps.push(Step::Drop { shard }),
            Some(_) => {
                if let Some(to) = wanted.filter(|to| *to != me) {
                    steps.push(Step::Give { shard, to });
                }
            }
            // Even if another should have it: nobody but this worker can give it away.
            None if mine => steps.push(Step::Adopt { shard, generation }),
            None if wanted != Some(me) => {}
            None => {
                let taken = owner.is_some_and(|owner| live.iter().any(|worker| worker.id == owner));
                if !taken {
                    steps.push(Step::Take { shard, seen: generation });
                }
            }
        }
    }
    steps
}

/// Who is to do the work of `shard`.
pub(super) fn owner_of(shard: ShardIndex, live: &[Live]) -> Option<WorkerId> {
    let staying = || live.iter().filter(|worker| !worker.leaving);
    let newest = staying().map(|worker| worker.release).max()?;
    staying()
        .filter(|worker| worker.release == newest)
        .max_by_key(|worker| {
            let mut hasher = SipHasher13::new();
            hasher.write(worker.id.as_bytes());
            hasher.write_u8(shard);
            (hasher.finish(), worker.id)
        })
        .map(|worker| worker.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u8) -> WorkerId {
        WorkerId::from_bytes([number; 16])
    }

    fn live(numbers: &[u8]) -> Vec<Live> {
        numbers.iter().map(|number| Live { id: worker(*number), release: 1, leaving: false }).collect()
    }

    fn lease(owner: Option<WorkerId>, generation: u64) -> LeaseRecord {
        let owner = owner.map(|owner| owner.as_bytes().to_vec()).unwrap_or_default().into();
        LeaseRecord { owner, generation }
    }

    #[test]
    fn the_first_worker_takes_all() {
        let steps = plan(worker(1), &live(&[1]), &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(steps.len(), usize::from(SHARDS));
        assert!(steps.iter().all(|step| matches!(step, Step::Take { seen: 0, .. })));
    }

    #[test]
    fn work_is_given_to_who_comes_and_taken_from_who_died() {
        let all: BTreeMap<_, _> = (0..SHARDS).map(|shard| (shard, lease(Some(worker(1)), 5))).collect();
        let held: BTreeMap<_, _> = (0..SHARDS).map(|shard| (shard, 5)).collect();
        let given = plan(worker(1), &live(&[1, 2]), &all, &held);
        assert!((20..44).contains(&given.len()), "{}", given.len());
        assert!(given.iter().all(|step| matches!(step, Step::Give { to, .. } if *to == worker(2))));
        // The newcomer waits until it is given something.
        assert_eq!(plan(worker(2), &live(&[1, 2]), &all, &BTreeMap::new()), []);
        // And takes all once the first is dead.
        let taken = plan(worker(2), &live(&[2]), &all, &BTreeMap::new());
        assert_eq!(taken.len(), usize::from(SHARDS));
        assert!(taken.iter().all(|step| matches!(step, Step::Take { seen: 5, .. })));
    }

    #[test]
    fn what_was_given_is_adopted_and_what_was_taken_is_dropped() {
        let mut leases = BTreeMap::from([(3, lease(Some(worker(1)), 9))]);
        let adopted = plan(worker(1), &live(&[1]), &leases, &BTreeMap::new());
        assert!(adopted.contains(&Step::Adopt { shard: 3, generation: 9 }));
        let unwanted =
            (0..SHARDS).find(|shard| owner_of(*shard, &live(&[1, 2])) == Some(worker(2))).expect("half");
        let mine = BTreeMap::from([(unwanted, lease(Some(worker(1)), 4))]);
        let adopted = plan(worker(1), &live(&[1, 2]), &mine, &BTreeMap::new());
        assert!(adopted.contains(&Step::Adopt { shard: unwanted, generation: 4 }));
        leases.insert(3, lease(Some(worker(2)), 10));
        let dropped = plan(worker(1), &live(&[1, 2]), &leases, &BTreeMap::from([(3, 9)]));
        assert!(dropped.contains(&Step::Drop { shard: 3 }));
    }

    #[test]
    fn newer_code_gets_everything_and_who_leaves_nothing() {
        let mut workers = live(&[1, 2, 3]);
        workers[1].release = 2;
        assert!((0..SHARDS).all(|shard| owner_of(shard, &workers) == Some(worker(2))));
        workers[1].leaving = true;
        assert!((0..SHARDS).all(|shard| owner_of(shard, &workers) != Some(worker(2))));
        assert_eq!(owner_of(0, &[]), None);
    }

    #[test]
    fn few_shards_move_when_a_worker_comes() {
        let (before, after) = (live(&[1, 2, 3]), live(&[1, 2, 3, 4]));
        for shard in 0..SHARDS {
            let owner = owner_of(shard, &after);
            assert!(owner == owner_of(shard, &before) || owner == Some(worker(4)));
        }
    }
}
