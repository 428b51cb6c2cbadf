//! Questions are answered once the answer is committed, by whoever has the workflow then.

use std::time::Duration;

use muster_engine::{AskError, TokioClock, ask};
use muster_store::Database;

use crate::support::{Account, account, bad_day, order, send, worker};

async fn asked(db: &Database, key: &str, timeout: Duration) -> Result<i64, AskError> {
    let clock = TokioClock::new(1_000_000);
    ask::<Account, i64>(db, &clock, &account(key), &order("ask", 0, ""), timeout).await
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_through_faults_and_restarts() {
    let db = Database::memory(1);
    let mut one = worker(&db, 1);
    db.set_commit_faults(bad_day());
    send(&db, "a", &order("credit", 5, "")).await;
    for round in 2..12 {
        assert_eq!(asked(&db, "a", Duration::from_mins(5)).await, Ok(5));
        drop(one);
        one = worker(&db, round);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_there_does_not_answer_and_says_so() {
    let db = Database::memory(2);
    let _worker = worker(&db, 1);
    let refused = asked(&db, "nobody", Duration::from_mins(1)).await;
    assert!(matches!(&refused, Err(AskError::Refused { reason, .. }) if reason.contains("no such workflow")));
}

#[tokio::test(start_paused = true)]
async fn without_a_worker_a_question_times_out_and_is_taken_later() {
    let db = Database::memory(3);
    send(&db, "a", &order("credit", 5, "")).await;
    let late = asked(&db, "a", Duration::from_secs(5)).await;
    assert_eq!(late, Err(AskError::TimedOut(account("a"))));
    let _worker = worker(&db, 1);
    assert_eq!(asked(&db, "a", Duration::from_mins(1)).await, Ok(5));
}
