//! Everything happens once, however commits go wrong and workers come and go.

use std::time::Duration;

use muster_engine::{Engine, Registry};
use muster_store::Database;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{
    Account, HANDLED, account, bad_day, balance, number, options, order, post, send, until,
};

const ACCOUNTS: usize = 12;
const TRANSFERS: usize = 120;

/// Moves money about at random while workers are killed. Returns what was handled and what is left of the
/// money: exactly twice the transfers (a send, a credit), and none lost or made.
async fn storm(seed: u64, fenced: bool) -> (i64, i64) {
    let db = Database::memory(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let worker = |number: u8| {
        let registry = Registry::new().with_machine(Account::default());
        Engine::start(db.clone(), registry, muster_engine::Options { fenced, ..options(number) })
    };
    let mut workers = vec![worker(1), worker(2)];
    let mut next = 3;
    for key in 0..ACCOUNTS {
        post(&db, async |tx| muster_engine::start::<Account>(tx, &account(&key.to_string()), &0).await)
            .await
            .expect("room");
    }
    db.set_commit_faults(bad_day());
    for _ in 0..TRANSFERS {
        let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
        send(&db, &from.to_string(), &order("send", random.random_range(1..100), &to.to_string())).await;
        if random.random_bool(0.1) {
            // As kill -9 would.
            let at = random.random_range(0..workers.len());
            drop(workers.swap_remove(at));
            workers.push(worker(next));
            next += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
    }
    db.set_commit_faults(muster_store::CommitFaults::default());
    let expected = 2 * TRANSFERS as i64;
    until("all transfers are handled", async || number(&db, HANDLED).await >= expected).await;
    // Longer than any stalled commit could still take.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut sum = 0;
    for key in 0..ACCOUNTS {
        sum += balance(&db, &key.to_string()).await.map_or(0, |balance| balance.amount);
    }
    (number(&db, HANDLED).await, sum)
}

fn storm_with(seed: u64, fenced: bool) -> (i64, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(storm(seed, fenced))
}

#[test]
fn no_signal_is_lost_or_handled_twice_in_a_storm() {
    for seed in 0..40 {
        assert_eq!(storm_with(seed, true), (2 * TRANSFERS as i64, 0), "seed {seed}");
    }
}

#[test]
fn without_the_fence_the_storm_finds_a_double() {
    // The mutation check of the test above: it must be able to fail.
    let broken = (0..20).any(|seed| storm_with(seed, false) != (2 * TRANSFERS as i64, 0));
    assert!(broken, "a storm without a fence went unnoticed");
}

#[tokio::test(start_paused = true)]
async fn signals_of_one_sender_come_in_order() {
    let db = Database::memory(3);
    let _worker = crate::support::worker(&db, 1);
    db.set_commit_faults(bad_day());
    for amount in 0..200 {
        send(&db, "a", &order("remember", amount, "")).await;
    }
    // Several of one transaction, too.
    post(&db, async |tx| {
        for amount in 200..300 {
            let order = order("remember", amount, "");
            muster_engine::signal::<Account>(tx, &account("a"), &order).await?;
        }
        Ok(())
    })
    .await
    .expect("room");
    let all = async || balance(&db, "a").await.is_some_and(|balance| balance.memory.len() == 300);
    until("all are remembered", all).await;
    let memory = balance(&db, "a").await.expect("there").memory;
    assert_eq!(memory, (0..300).map(|amount| amount.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn of_many_that_start_one_begins() {
    let db = Database::memory(4);
    let _workers = [crate::support::worker(&db, 1), crate::support::worker(&db, 2)];
    db.set_commit_faults(bad_day());
    let starts =
        (0..50).map(|_| post(&db, async |tx| muster_engine::start::<Account>(tx, &account("a"), &7).await));
    futures_util::future::try_join_all(starts).await.expect("room");
    send(&db, "a", &order("remember", 1, "")).await;
    let done = async || balance(&db, "a").await.is_some_and(|balance| balance.memory.len() == 1);
    until("it has begun", done).await;
    assert_eq!(balance(&db, "a").await.expect("there").amount, 7);
}
