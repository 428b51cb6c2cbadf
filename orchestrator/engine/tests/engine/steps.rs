//! The steps style: goes on after any crash, sleeps for nothing, undoes what it did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use muster_engine::{
    Address, Control, Engine, IdempotencyKey, Kind, Received, Registry, RetryPolicy, Status, StepContext,
    StepError, StepPolicy, Steps, inspect,
};
use muster_store::Database;

use crate::support::{HANDLED, bad_day, look, number, options, post, tell, until};

/// What the outside saw.
type Outside = Arc<Mutex<Vec<String>>>;

/// A job that reserves, waits for a go, and books; `fail` books in vain.
struct Job {
    outside: Outside,
    /// Name of its first step: code that changes has another.
    first: &'static str,
}

impl Kind for Job {
    const KIND: &'static str = "job";
    type Input = String;
    type Signal = String;
}

const TWICE: StepPolicy = StepPolicy {
    retry: RetryPolicy { attempts: 2, first: Duration::from_millis(100), max: Duration::from_secs(1) },
    timeout: Duration::from_secs(2),
};

impl Job {
    /// Does something to the outside that takes a while.
    async fn act(outside: Outside, what: &'static str, key: IdempotencyKey) -> Result<String, String> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        outside.lock().expect("whole").push(format!("{what} {}", key.as_str()));
        Ok(format!("{what} done"))
    }

    async fn undo(outside: Outside, what: &'static str) -> Result<(), String> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        outside.lock().expect("whole").push(format!("undo {what}"));
        Ok(())
    }
}

impl Steps for Job {
    type Output = String;

    async fn run(&self, cx: StepContext, input: String) -> Result<String, StepError> {
        let out = || self.outside.clone();
        let (undo_one, undo_two) = (out(), out());
        cx.step_with_undo(
            self.first,
            TWICE,
            |key| Self::act(out(), "reserve", key),
            move |_: Option<String>| Self::undo(undo_one.clone(), "reserve"),
        )
        .await?;
        let counted: i64 = cx
            .transact("count", |cx| {
                async move {
                    cx.tx().atomic_add(HANDLED, 1);
                    Ok(7)
                }
                .boxed()
            })
            .await?;
        cx.sleep("rest", Duration::from_mins(10)).await?;
        let go = match cx.receive::<String>("go").await? {
            Received::Signal(go, _) => go,
            Received::ChildEnded(..) => return Err(StepError::Because("it has no children".into())),
        };
        cx.step_with_undo(
            "book",
            TWICE,
            |key| {
                let (out, fails) = (out(), input == "fail");
                async move {
                    if fails {
                        return Err("fully booked".to_owned());
                    }
                    Self::act(out, "book", key).await
                }
            },
            move |_: Option<String>| Self::undo(undo_two.clone(), "book"),
        )
        .await?;
        Ok(format!("{input} {go} {counted}"))
    }
}

fn job() -> Address {
    Job::address("n", "j").expect("valid")
}

fn worker(db: &Database, number: u8, outside: &Outside) -> Engine {
    changed_worker(db, number, outside, "reserve")
}

fn changed_worker(db: &Database, number: u8, outside: &Outside, first: &'static str) -> Engine {
    let job = Job { outside: outside.clone(), first };
    Engine::start(db.clone(), Registry::new().with_steps(job), options(number))
}

async fn begin(db: &Database, input: &str) {
    post(db, async |tx| muster_engine::start::<Job>(tx, &job(), &input.to_owned()).await)
        .await
        .expect("room");
}

async fn go(db: &Database) {
    post(db, async |tx| muster_engine::signal::<Job>(tx, &job(), &"now".to_owned()).await)
        .await
        .expect("room");
}

async fn status(db: &Database) -> Option<Status> {
    look(db, &job()).await.map(|workflow| workflow.record.status())
}

fn seen(outside: &Outside) -> Vec<String> {
    outside.lock().expect("whole").clone()
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_through_and_costs_nothing_while_it_sleeps() {
    let (db, outside) = (Database::memory(1), Outside::default());
    let _worker = worker(&db, 1, &outside);
    begin(&db, "x").await;
    let asleep =
        async || look(&db, &job()).await.is_some_and(|it| !it.record.awake && it.record.timers.len() == 1);
    until("it sleeps", asleep).await;
    let waits = look(&db, &job()).await.expect("there").waits_for(0);
    assert!(waits.contains("rest"), "{waits}");
    go(&db).await;
    until("it is over", async || status(&db).await == Some(Status::Finished)).await;
    let output = look(&db, &job()).await.expect("there").record.output;
    assert_eq!(<String as prost::Message>::decode(output).as_deref(), Ok("x now 7"));
    assert_eq!(seen(&outside), ["reserve n/job/j#1.1", "book n/job/j#1.5"]);
    assert_eq!(number(&db, HANDLED).await, 1);
    let steps: Vec<String> = inspect::journal(&db, &job())
        .await
        .expect("read")
        .into_iter()
        .map(|(number, step)| format!("{number} {} {}", step.what, step.name))
        .collect();
    assert_eq!(steps, ["1 step reserve", "2 transact count", "3 sleep rest", "4 receive go", "5 step book"]);
}

#[test]
fn a_job_cut_off_at_any_moment_goes_on() {
    for seed in 0..40 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(cut_off(seed));
    }
}

/// Kills the worker again and again, at moments that differ with `seed`.
async fn cut_off(seed: u64) {
    let (db, outside) = (Database::memory(seed), Outside::default());
    begin(&db, "x").await;
    go(&db).await;
    db.set_commit_faults(bad_day());
    for round in 1..30 {
        let engine = worker(&db, round, &outside);
        // Past the lease's end, and then a little.
        tokio::time::sleep(Duration::from_millis(3_600 + seed * 41 % 700 + u64::from(round) * 97 % 1_000))
            .await;
        drop(engine);
    }
    db.set_commit_faults(muster_store::CommitFaults::default());
    let _worker = worker(&db, 99, &outside);
    until("it is over", async || status(&db).await == Some(Status::Finished)).await;
    assert_eq!(number(&db, HANDLED).await, 1, "seed {seed}: a transaction's effect is there once");
    let seen = seen(&outside);
    // At least once, in order, and with one key each.
    let mut distinct = seen.clone();
    distinct.dedup();
    assert_eq!(distinct, ["reserve n/job/j#1.1", "book n/job/j#1.5"], "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_undoes_what_it_did_the_last_first() {
    let (db, outside) = (Database::memory(2), Outside::default());
    let _worker = worker(&db, 1, &outside);
    begin(&db, "fail").await;
    go(&db).await;
    until("it is over", async || status(&db).await == Some(Status::Failed)).await;
    assert_eq!(seen(&outside), ["reserve n/job/j#1.1", "undo book", "undo reserve"]);
    let reason = look(&db, &job()).await.expect("there").record.reason;
    assert_eq!(reason, "step \"book\" failed: fully booked");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_wakes_and_undoes_even_if_it_is_cut_off_meanwhile() {
    let (db, outside) = (Database::memory(3), Outside::default());
    let first = worker(&db, 1, &outside);
    begin(&db, "x").await;
    until("it sleeps", async || look(&db, &job()).await.is_some_and(|it| !it.record.timers.is_empty())).await;
    tell(&db, |tx| muster_engine::control(tx, &job(), Control::Cancel)).await;
    until("it undoes", async || look(&db, &job()).await.is_some_and(|it| it.record.awake)).await;
    drop(first);
    let _second = worker(&db, 2, &outside);
    until("it is over", async || status(&db).await == Some(Status::Cancelled)).await;
    let seen = seen(&outside);
    assert_eq!(
        (seen.first().map(String::as_str), seen.last().map(String::as_str)),
        (Some("reserve n/job/j#1.1"), Some("undo reserve"))
    );
}

#[tokio::test(start_paused = true)]
async fn code_that_has_changed_is_found_out_before_it_does_anything() {
    let (db, outside) = (Database::memory(4), Outside::default());
    let first = worker(&db, 1, &outside);
    begin(&db, "x").await;
    until("it sleeps", async || look(&db, &job()).await.is_some_and(|it| !it.record.timers.is_empty())).await;
    drop(first);
    let changed = changed_worker(&db, 2, &outside, "reserve a table");
    until("it is set aside", async || status(&db).await == Some(Status::Dead)).await;
    let reason = look(&db, &job()).await.expect("there").record.reason;
    assert!(reason.contains("step 1 was step \"reserve\" and is now step \"reserve a table\""), "{reason}");
    assert_eq!(seen(&outside).len(), 1);
    drop(changed);
    // Back to the code it began under, it goes on.
    let _third = worker(&db, 3, &outside);
    tell(&db, |tx| muster_engine::control(tx, &job(), Control::Retry)).await;
    go(&db).await;
    until("it is over", async || status(&db).await == Some(Status::Finished)).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_set_aside_or_paused_can_still_be_cancelled_and_undoes() {
    for paused in [false, true] {
        let (db, outside) = (Database::memory(5), Outside::default());
        let first = worker(&db, 1, &outside);
        begin(&db, "x").await;
        let asleep = async || look(&db, &job()).await.is_some_and(|it| !it.record.timers.is_empty());
        until("it sleeps", asleep).await;
        let stuck = if paused {
            tell(&db, |tx| muster_engine::control(tx, &job(), Control::Pause)).await;
            until("it is paused", async || status(&db).await == Some(Status::Paused)).await;
            first
        } else {
            drop(first);
            let changed = changed_worker(&db, 2, &outside, "reserve a table");
            until("it is set aside", async || status(&db).await == Some(Status::Dead)).await;
            drop(changed);
            worker(&db, 3, &outside)
        };
        tell(&db, |tx| muster_engine::control(tx, &job(), Control::Cancel)).await;
        until("it is over", async || status(&db).await == Some(Status::Cancelled)).await;
        let seen = seen(&outside);
        assert_eq!(seen.last().map(String::as_str), Some("undo reserve"), "paused {paused}: {seen:?}");
        drop(stuck);
    }
}

/// The job's next release: it books nothing for those it begins, and goes on as before with those that are there.
struct NextJob(Job);

impl Kind for NextJob {
    const KIND: &'static str = Job::KIND;
    const VERSION: u32 = 2;
    type Input = String;
    type Signal = String;
}

impl Steps for NextJob {
    const OLDEST: u32 = 1;
    type Output = String;

    async fn run(&self, cx: StepContext, input: String) -> Result<String, StepError> {
        if cx.version() == 1 { self.0.run(cx, input).await } else { Ok("nothing booked".to_owned()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_release_goes_on_with_what_an_older_one_began() {
    let (db, outside) = (Database::memory(6), Outside::default());
    let older = worker(&db, 1, &outside);
    begin(&db, "x").await;
    until("it sleeps", async || look(&db, &job()).await.is_some_and(|it| !it.record.timers.is_empty())).await;
    let next = NextJob(Job { outside: outside.clone(), first: "reserve" });
    let newer = Engine::start(db.clone(), Registry::new().with_steps(next), options(2));
    let all = muster_engine::limits::SHARDS as usize;
    until("the newer one has the work", async || newer.shards_held() == all).await;
    go(&db).await;
    let other = Job::address("n", "k").expect("valid");
    post(&db, async |tx| muster_engine::start::<NextJob>(tx, &other, &"y".to_owned()).await)
        .await
        .expect("room");
    until("it is over", async || status(&db).await == Some(Status::Finished)).await;
    let output = async |address: &Address| {
        let output =
            look(&db, address).await.filter(|it| it.record.status() == Status::Finished)?.record.output;
        <String as prost::Message>::decode(output).ok()
    };
    assert_eq!(output(&job()).await.as_deref(), Some("x now 7"));
    until("the new one is over", async || output(&other).await.as_deref() == Some("nothing booked")).await;
    assert_eq!(seen(&outside), ["reserve n/job/j#1.1", "book n/job/j#1.5"]);
    drop((older, newer));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_started_while_there_was_no_code_begins_once_there_is() {
    let (db, outside) = (Database::memory(8), Outside::default());
    let without = Engine::start(db.clone(), Registry::new(), options(1));
    begin(&db, "x").await;
    go(&db).await;
    let both = async || look(&db, &job()).await.is_some_and(|it| it.record.parked == 2);
    until("both wait", both).await;
    assert_eq!(status(&db).await, Some(Status::Blocked));
    without.stop().await;
    let _worker = worker(&db, 2, &outside);
    until("it is over", async || status(&db).await == Some(Status::Finished)).await;
    assert_eq!(seen(&outside), ["reserve n/job/j#1.1", "book n/job/j#1.5"]);
}
