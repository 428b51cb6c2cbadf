//! Answers that get lost: a commit that nobody knows the outcome of takes effect once all the same.
//!
//! The faults are injected above the driver, so a cluster is tested with them too; the embedded driver
//! cannot lose an answer while its disk works, and is run without.

use std::time::Duration;

use muster_store::{CommitFaults, Database, StoreError, Transaction};

use crate::histories;
use crate::support::{get, rows};

/// A bad day: half of the commits go wrong.
const BAD: CommitFaults = CommitFaults {
    conflict: 0.05,
    too_old: 0.05,
    unknown_lost: 0.1,
    unknown_done: 0.1,
    unknown_late: 0.15,
    stall: 0.05,
    blind: 0.0,
    delay: Duration::from_millis(20),
};

/// No fault any more, so that a test can look at what is there.
fn calm(database: &Database) {
    database.set_commit_faults(CommitFaults::default());
}

pub(crate) async fn a_run_takes_effect_once_though_answers_are_lost(database: &Database) {
    const TASKS: u32 = 8;
    const EACH: u32 = 25;
    database.set_commit_faults(BAD);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let database = database.clone();
        tasks.spawn(async move {
            for round in 0..EACH {
                let number = (task * EACH + round).to_be_bytes();
                let ran = database.run("count", async |mut tx: Transaction| {
                    // Nothing here would stop a second run of its own: only the store does.
                    tx.atomic_add(b"sum", 1);
                    tx.set_versionstamped_key(&[b"log/".as_slice(), &[0; 10]].concat(), 4, &number);
                    Ok::<_, StoreError>(tx.versionstamp())
                });
                let stamp = ran.await.unwrap().get().await.unwrap();
                let logged = get(&database, &[b"log/".as_slice(), stamp.as_bytes()].concat()).await;
                assert_eq!(logged.as_deref(), Some(number.as_slice()), "the stamp is that of the commit");
            }
        });
    }
    tasks.join_all().await;
    calm(database);
    assert_eq!(get(database, b"sum").await, Some(u64::from(TASKS * EACH).to_le_bytes().to_vec()));
    let mut logged: Vec<Vec<u8>> =
        rows(database, b"log/", b"log0").await.into_iter().map(|(_, value)| value).collect();
    logged.sort_unstable();
    let expected: Vec<Vec<u8>> = (0..TASKS * EACH).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(logged, expected, "each is there once");
}

pub(crate) async fn a_late_commit_never_follows_an_answer(database: &Database) {
    // The first attempt's commit comes late; meanwhile the run decides otherwise and says so.
    let late =
        CommitFaults { unknown_late: 1.0, delay: Duration::from_millis(400), ..CommitFaults::default() };
    for round in 0..10_u8 {
        let faulty = database.set_commit_faults(late);
        let attempts = std::sync::atomic::AtomicU32::new(0);
        let ran = database.run("changes its mind", async |mut tx: Transaction| {
            tx.set(&[b'k', round], b"written");
            if attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
                database.set_commit_faults(CommitFaults::default());
                return Err(StoreError::InvertedRange);
            }
            Ok(())
        });
        let answer = ran.await;
        let seen = get(database, &[b'k', round]).await;
        assert_eq!(answer.is_ok(), seen.is_some(), "answered {answer:?}, but {seen:?} is there");
        assert!(faulty || answer.is_ok());
        // Not a wait for something to happen: for something that must not.
        tokio::time::sleep(Duration::from_millis(if faulty { 450 } else { 0 })).await;
        assert_eq!(get(database, &[b'k', round]).await, seen, "what was answered stays so");
    }
}

pub(crate) async fn histories_stay_serializable_though_commits_go_wrong(database: &Database) {
    database.set_commit_faults(BAD);
    for seed in 100..103 {
        histories::one(database, seed).await;
    }
    calm(database);
}
