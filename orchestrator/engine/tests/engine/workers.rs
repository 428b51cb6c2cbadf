//! Workers share the shards, hand them over at once when they stop, and take them from the dead in time.

use std::time::Duration;

use muster_engine::{Engine, limits};
use muster_store::Database;
use tokio::time::Instant;

use crate::support::{balance, options, order, send, until, worker};

const ALL: usize = limits::SHARDS as usize;

fn held(workers: &[&Engine]) -> usize {
    workers.iter().map(|worker| worker.shards_held()).sum()
}

#[tokio::test(start_paused = true)]
async fn workers_share_hand_over_and_inherit() {
    let db = Database::memory(1);
    let one = worker(&db, 1);
    until("the first has all", async || one.shards_held() == ALL).await;
    let two = worker(&db, 2);
    let shared = async || held(&[&one, &two]) == ALL && two.shards_held() > ALL / 4;
    until("they share", shared).await;
    assert!(one.shards_held() > ALL / 4);

    let stopped = Instant::now();
    two.stop().await;
    until("a clean stop hands over", async || one.shards_held() == ALL).await;
    assert!(stopped.elapsed() < limits::LEASE_TIMEOUT, "{:?}", stopped.elapsed());

    let three = worker(&db, 3);
    until("they share again", async || held(&[&one, &three]) == ALL).await;
    let died = Instant::now();
    drop(one);
    until("the dead are inherited from", async || three.shards_held() == ALL).await;
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    send(&db, "a", &order("credit", 1, "")).await;
    until("work goes on", async || balance(&db, "a").await.is_some_and(|a| a.amount == 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_alone_does_not_wait_for_the_dead() {
    let db = Database::memory(2);
    let one = worker(&db, 1);
    until("the first has all", async || one.shards_held() == ALL).await;
    drop(one);
    let began = Instant::now();
    let alone = muster_engine::Options { alone: true, ..options(2) };
    let registry = muster_engine::Registry::new().with_machine(crate::support::Account::default());
    let two = Engine::start(db.clone(), registry, alone);
    until("the next has all", async || two.shards_held() == ALL).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
