//! One run of a steps workflow: its code, from the beginning, until it sleeps, ends or has to stop; and if
//! it fails or is cancelled, the undoing of what it did.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use muster_store::StoreError;
use tokio::sync::mpsc;

use crate::address::Address;
use crate::held;
use crate::keyspace;
use crate::limits::STORE_PAUSE;
use crate::metrics;
use crate::records::{JournalRecord, Status, WorkflowRecord};
use crate::registry::Code;
use crate::shard::{Lease, Shared, panic_text};
use crate::steps::context::{Inner, StepContext, Undoable};
use crate::steps::journal::{Change, Exit, Journal};
use crate::steps::{AnySteps, StepError};

/// Runs the workflow at `address` until it has nothing to do here any more.
pub(crate) async fn run(shared: Arc<Shared>, lease: Lease, address: Address) {
    let mut journal = Journal { shared, lease, address, run: 0 };
    loop {
        let exit = match attempt(&mut journal).await {
            Ok(()) => return,
            Err(exit) => exit,
        };
        match exit {
            Exit::Asleep | Exit::Stopped | Exit::Unleased | Exit::Store(StoreError::Closed) => return,
            Exit::Dead(reason) => match set_aside(&journal, &reason).await {
                Ok(()) => {
                    metrics::died(journal.address.kind());
                    tracing::error!(workflow = %journal.address, reason, "workflow set aside");
                    return;
                }
                Err(error) => {
                    tracing::warn!(workflow = %journal.address, %error, "cannot set workflow aside");
                }
            },
            Exit::Unreadable(reason) => match set_aside_unread(&journal, &reason).await {
                Ok(()) | Err(Exit::Unleased) => return,
                Err(error) => {
                    tracing::warn!(workflow = %journal.address, %error, "cannot set workflow aside");
                }
            },
            Exit::Store(error) => {
                tracing::warn!(workflow = %journal.address, %error, "workflow cannot go on; it begins again");
            }
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

/// One run from the beginning.
async fn attempt(journal: &mut Journal) -> Result<(), Exit> {
    let Some(record) = load(journal).await? else { return Err(Exit::Stopped) };
    journal.run = record.runs;
    let journal = &*journal;
    let registered = journal.shared.registry.get(journal.address.kind());
    let Some((steps, version, retention)) = registered.and_then(|registered| match &registered.code {
        Code::Steps(steps) => Some((steps.clone(), registered.version, registered.retention)),
        Code::Machine(_) => None,
    }) else {
        return Err(Exit::Stopped);
    };
    if !(steps.oldest()..=version).contains(&record.version) {
        let (has, needs) = (version, record.version);
        return Err(Exit::Dead(format!(
            "it began under version {needs} of {:?} and this orchestrator has code for {} to {has}; run the release it \
             began under until it is over, then muster workflow retry",
            journal.address.kind(),
            steps.oldest()
        )));
    }
    let (exit, mut exits) = mpsc::unbounded_channel();
    let (version, progress) = (record.version, std::sync::Mutex::default());
    let inner = Inner { journal: journal.clone(), version, exit, progress };
    let cx = StepContext(Arc::new(inner));
    let ended = tokio::select! {
        biased;
        Some(exit) = exits.recv() => return Err(exit),
        ended = code(&*steps, cx.clone(), record.state) => ended,
    };
    match ended {
        Ok(output) => finish(journal, Status::Finished, Ok(output), retention).await,
        Err(error) => {
            let undo = std::mem::take(
                &mut cx.0.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).undo,
            );
            undo_all(journal, undo).await?;
            let cancelled = load(journal).await?.is_some_and(|record| record.cancelling);
            let status = if cancelled { Status::Cancelled } else { Status::Failed };
            finish(journal, status, Err(error.to_string()), retention).await
        }
    }
}

async fn code(steps: &dyn AnySteps, cx: StepContext, input: Bytes) -> Result<Bytes, StepError> {
    match AssertUnwindSafe(steps.run(cx, input)).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => Err(StepError::Because(panic_text(&*panic))),
    }
}

async fn load(journal: &Journal) -> Result<Option<WorkflowRecord>, Exit> {
    let key = keyspace::state(&journal.address);
    let row =
        journal.shared.db.read("engine_load", async |mut tx| Ok::<_, Exit>(tx.get(&key).await?)).await?;
    let record = row.as_ref().map(WorkflowRecord::read).transpose().map_err(Exit::Unreadable)?;
    Ok(record.filter(|record| record.started && record.status() == Status::Running))
}

/// Undoes what was done, the last first; what was undone before is passed over.
async fn undo_all(journal: &Journal, undo: Vec<Undoable>) -> Result<(), Exit> {
    for undoable in undo.into_iter().rev() {
        let number = undoable.number;
        let (entry, _) = journal.read(number).await?;
        let name = undoable.name.clone();
        let entry = entry.unwrap_or_else(|| JournalRecord {
            what: "step".to_owned(),
            name,
            ..JournalRecord::default()
        });
        if entry.undone {
            continue;
        }
        undo_one(journal, &undoable).await?;
        let entry = JournalRecord {
            undone: true,
            done: true,
            failed: entry.failed.clone().or_else(|| undone(&entry)),
            ..entry
        };
        journal.note(number, &entry).await?;
    }
    Ok(())
}

/// A step that had not come to a result fails when its workflow runs again.
fn undone(entry: &JournalRecord) -> Option<String> {
    (!entry.done).then(|| "it was undone before it came to a result".to_owned())
}

async fn undo_one(journal: &Journal, undoable: &Undoable) -> Result<(), Exit> {
    let mut failed = 0;
    loop {
        let attempt = AssertUnwindSafe((undoable.undo)(undoable.result.clone())).catch_unwind();
        let reason = match tokio::time::timeout(undoable.policy.timeout, attempt).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(panic)) => panic_text(&*panic),
            Err(_) => format!("it took longer than {:?}", undoable.policy.timeout),
        };
        failed += 1;
        let Some(pause_ms) = undoable.policy.retry.pause_ms(failed, journal.shared.fraction()) else {
            let name = &undoable.name;
            return Err(Exit::Dead(format!(
                "step {name:?} cannot be undone: {reason}; mend that, then muster workflow retry"
            )));
        };
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
    }
}

async fn finish(
    journal: &Journal,
    status: Status,
    outcome: Result<Bytes, String>,
    retention: std::time::Duration,
) -> Result<(), Exit> {
    let address = &journal.address;
    journal
        .change("engine_finish", async |mut change: Change| {
            let (tx, working, now_ms) = (&mut change.tx, &mut change.working, change.now_ms);
            let why = outcome.as_ref().err().map_or("", String::as_str);
            working.note(now_ms, status.word().to_owned(), why);
            working.end(tx, address, status, outcome.clone(), retention, now_ms);
            Ok((change, ()))
        })
        .await
}

/// Sets one aside whose record cannot be read, unless it can be read meanwhile.
async fn set_aside_unread(journal: &Journal, reason: &str) -> Result<(), Exit> {
    let (shared, address) = (&*journal.shared, &journal.address);
    let is_new = shared
        .db
        .run("engine_set_aside_unread", async |mut tx| {
            shared.fence(&mut tx, journal.lease).await?;
            let row = tx.get(&keyspace::state(address)).await?;
            let is_unreadable = row.as_ref().is_some_and(|row| WorkflowRecord::read(row).is_err());
            Ok::<_, Exit>(is_unreadable && held::set_aside(&mut tx, address).await?)
        })
        .await?;
    if is_new {
        metrics::unreadable(address.kind());
        tracing::error!(workflow = %address, reason, "set aside with all that comes for it; start a release that can read it");
    }
    Ok(())
}

async fn set_aside(journal: &Journal, reason: &str) -> Result<(), Exit> {
    let address = &journal.address;
    let set = journal
        .change("engine_set_aside", async |mut change: Change| {
            let (tx, working) = (&mut change.tx, &mut change.working);
            working.stand(tx, address, Status::Dead, reason);
            working.note(change.now_ms, "set aside".to_owned(), reason);
            working.record.awake = false;
            tx.clear(&keyspace::awake(address));
            Ok((change, ()))
        })
        .await;
    match set {
        Err(Exit::Stopped | Exit::Unleased) => Ok(()),
        other => other,
    }
}
