//! Random histories of concurrent transactions, and a checker that finds whether they could have
//! happened one after the other, in the order of their versionstamps, without contradicting the clock.
//!
//! Every transaction that wrote is replayed in the order of its stamp: what it read must be what the
//! ones before it left. One that only read must have seen what some number of them left: at least all
//! that were acknowledged before it began. That is strict serializability, and catches write skew,
//! phantoms, lost updates, stale reads and reordered commits alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_store::{Database, StoreError, Transaction, Versionstamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Keys that the transactions meet on: few, so that they do.
const KEYS: u8 = 6;
const TASKS: u64 = 8;
const EACH: u64 = 30;

type Rows = BTreeMap<u8, u64>;

#[derive(Debug, Clone)]
enum Read {
    Key(u8, Option<u64>),
    /// The first of `[from, to)`, at most so many, from the end if `reverse`.
    Range {
        from: u8,
        to: u8,
        limit: usize,
        reverse: bool,
        rows: Vec<(u8, u64)>,
    },
}

#[derive(Debug, Clone)]
enum Write {
    Set(u8, u64),
    Clear(u8),
    ClearRange(u8, u8),
    Add(u8, u64),
}

/// One transaction that was acknowledged.
#[derive(Debug)]
struct Done {
    began: u64,
    ended: u64,
    stamp: Option<Versionstamp>,
    reads: Vec<Read>,
    writes: Vec<Write>,
}

/// What a transaction is going to do.
#[derive(Debug, Clone)]
struct Plan {
    reads: Vec<Read>,
    writes: Vec<Write>,
}

fn bounds(random: &mut StdRng) -> (u8, u8) {
    // Never empty: a transaction that clears nothing has no versionstamp.
    let (a, b) = (random.random_range(0..KEYS), random.random_range(0..KEYS));
    (a.min(b), a.max(b) + 1)
}

fn plan(random: &mut StdRng, unique: u64) -> Plan {
    let reads = (0..random.random_range(0..3)).map(|_| {
        if random.random_bool(0.5) {
            return Read::Key(random.random_range(0..KEYS), None);
        }
        let (from, to) = bounds(random);
        let (limit, reverse) = (random.random_range(1..4), random.random());
        Read::Range { from, to, limit, reverse, rows: Vec::new() }
    });
    let reads = reads.collect();
    let writes = (0..random.random_range(0..3)).map(|place| {
        let key = random.random_range(0..KEYS);
        match random.random_range(0..6) {
            0 => Write::Clear(key),
            1 => {
                let (from, to) = bounds(random);
                Write::ClearRange(from, to)
            }
            2 => Write::Add(key, 1),
            _ => Write::Set(key, (unique << 2 | place) << 8),
        }
    });
    Plan { reads, writes: writes.collect() }
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().unwrap())
}

async fn perform(tx: &mut Transaction, plan: &Plan) -> Result<Vec<Read>, StoreError> {
    let mut reads = plan.reads.clone();
    for read in &mut reads {
        match read {
            Read::Key(key, value) => *value = tx.get(&[*key]).await?.map(|value| number(&value)),
            Read::Range { from, to, limit, reverse, rows } => {
                let found = tx.get_range(&[*from], &[*to], *limit, *reverse).await?;
                *rows = found.iter().map(|(key, value)| (key[0], number(value))).collect();
            }
        }
        // Let the others in between.
        tokio::task::yield_now().await;
    }
    for write in &plan.writes {
        match write {
            Write::Set(key, value) => tx.set(&[*key], &value.to_le_bytes()),
            Write::Clear(key) => tx.clear(&[*key]),
            Write::ClearRange(from, to) => tx.clear_range(&[*from], &[*to]),
            Write::Add(key, delta) => tx.atomic_add(&[*key], delta.cast_signed()),
        }
    }
    Ok(reads)
}

/// Runs one history from `seed`.
async fn record(database: &Database, seed: u64) -> Vec<Done> {
    let clock = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (database, clock) = (database.clone(), clock.clone());
        tasks.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed << 8 | task);
            let mut done = Vec::new();
            for round in 0..EACH {
                let plan = plan(&mut random, task * EACH + round + 1);
                let began = clock.fetch_add(1, Ordering::SeqCst);
                let ran = database.run("history", async |mut tx: Transaction| {
                    let reads = perform(&mut tx, &plan).await?;
                    let stamp = (!plan.writes.is_empty()).then(|| tx.versionstamp());
                    Ok::<_, StoreError>((reads, stamp))
                });
                let (reads, stamp) = ran.await.unwrap();
                let ended = clock.fetch_add(1, Ordering::SeqCst);
                let stamp = match stamp {
                    Some(stamp) => Some(stamp.get().await.unwrap()),
                    None => None,
                };
                done.push(Done { began, ended, stamp, reads, writes: plan.writes });
            }
            done
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

fn holds(rows: &Rows, read: &Read) -> bool {
    match read {
        Read::Key(key, value) => rows.get(key) == value.as_ref(),
        Read::Range { from, to, limit, reverse, rows: seen } => {
            let mut all: Vec<_> = rows.range(from..to).map(|(key, value)| (*key, *value)).collect();
            if *reverse {
                all.reverse();
            }
            all.truncate(*limit);
            all == *seen
        }
    }
}

fn apply(rows: &mut Rows, write: &Write) {
    match write {
        Write::Set(key, value) => {
            rows.insert(*key, *value);
        }
        Write::Clear(key) => {
            rows.remove(key);
        }
        Write::ClearRange(from, to) => rows.retain(|key, _| key < from || key >= to),
        Write::Add(key, delta) => *rows.entry(*key).or_default() += delta,
    }
}

/// Panics with the transaction that could not have happened where it did.
fn check(mut history: Vec<Done>) -> Rows {
    history.sort_by_key(|done| done.stamp);
    let written = history.partition_point(|done| done.stamp.is_none());
    let (readers, writers) = history.split_at(written);
    let mut states = vec![Rows::new()];
    let mut latest_begin = 0;
    for (place, done) in writers.iter().enumerate() {
        assert!(place == 0 || writers[place - 1].stamp < done.stamp, "two commits share a stamp: {done:?}");
        assert!(done.ended > latest_begin, "acknowledged before one began that stands before it: {done:?}");
        latest_begin = latest_begin.max(done.began);
        let mut rows = states.last().unwrap().clone();
        for read in &done.reads {
            assert!(holds(&rows, read), "{read:?} is not what {rows:?} holds, in {done:?}");
        }
        for write in &done.writes {
            apply(&mut rows, write);
        }
        states.push(rows);
    }
    for done in readers {
        // Those acknowledged before it began, at least; those begun before it ended, at most.
        let least = writers.iter().rposition(|writer| writer.ended < done.began).map_or(0, |place| place + 1);
        let most = writers.iter().rposition(|writer| writer.began < done.ended).map_or(0, |place| place + 1);
        let seen = states[least..=most.max(least)]
            .iter()
            .any(|rows| done.reads.iter().all(|read| holds(rows, read)));
        assert!(seen, "nothing between commits {least} and {most} shows this: {done:?}");
    }
    states.pop().unwrap()
}

/// Records and checks a history, and that the store holds what it ends with.
pub(crate) async fn one(database: &Database, seed: u64) {
    crate::support::write(database, |tx| tx.clear_range(&[0], &[KEYS])).await;
    let expected = check(record(database, seed).await);
    let rows = crate::support::rows(database, &[0], &[KEYS]).await;
    let rows: Rows = rows.into_iter().map(|(key, value)| (key[0], number(&value))).collect();
    assert_eq!(rows, expected, "seed {seed}");
}

pub(crate) async fn random_histories_are_strictly_serializable(database: &Database) {
    for seed in 0..8 {
        one(database, seed).await;
    }
}

mod tests {
    use super::*;

    fn done(order: u16, reads: Vec<Read>, writes: Vec<Write>) -> Done {
        let mut stamp = [0; 10];
        stamp[8..].copy_from_slice(&order.to_be_bytes());
        let began = u64::from(order);
        Done { began, ended: 100 + began, stamp: Some(Versionstamp::from_bytes(stamp)), reads, writes }
    }

    #[test]
    #[should_panic(expected = "is not what")]
    fn the_checker_finds_write_skew() {
        let alone = |other| Read::Key(other, None);
        check(vec![
            done(1, vec![alone(1)], vec![Write::Set(0, 1)]),
            done(2, vec![alone(0)], vec![Write::Set(1, 1)]),
        ]);
    }

    #[test]
    #[should_panic(expected = "is not what")]
    fn the_checker_finds_a_phantom() {
        let none = Read::Range { from: 0, to: 4, limit: 9, reverse: false, rows: Vec::new() };
        check(vec![done(1, vec![], vec![Write::Set(2, 1)]), done(2, vec![none], vec![Write::Set(5, 1)])]);
    }

    #[test]
    #[should_panic(expected = "nothing between")]
    fn the_checker_finds_a_stale_read() {
        let mut writer = done(1, vec![], vec![Write::Set(0, 7)]);
        writer.ended = 2;
        let reader =
            Done { began: 3, ended: 4, stamp: None, reads: vec![Read::Key(0, None)], writes: vec![] };
        check(vec![writer, reader]);
    }

    #[test]
    #[should_panic(expected = "acknowledged before")]
    fn the_checker_finds_commits_against_the_clock() {
        let mut first = done(2, vec![], vec![Write::Set(0, 7)]);
        (first.began, first.ended) = (0, 1);
        let mut second = done(1, vec![], vec![Write::Set(0, 8)]);
        (second.began, second.ended) = (2, 3);
        check(vec![first, second]);
    }
}
