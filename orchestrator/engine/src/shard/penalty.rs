//! What becomes of a workflow whose transition failed: it waits and is tried again, longer each time, and
//! in the end is set aside with the reason.
//!
//! A transaction of its own: the one that failed wrote nothing.

use muster_store::StoreError;

use crate::address::Address;
use crate::error::Failure;
use crate::keyspace;
use crate::metrics;
use crate::records::{Status, WorkflowRecord};
use crate::shard::working::{RETRY, Working};
use crate::shard::{Lease, Shared, Unleased};

/// Notes that `event` failed.
pub(super) async fn note_failure(
    shared: &Shared,
    lease: Lease,
    address: &Address,
    event: &str,
    failure: &Failure,
) -> Result<(), Unleased> {
    let reason = failure.to_string();
    let status = shared
        .db
        .run("engine_penalty", async |mut tx| {
            shared.fence(&mut tx, lease).await?;
            let now_ms = shared.clock.now_ms();
            let row = tx.get(&keyspace::state(address)).await?;
            let mut working = match row.as_ref().map(WorkflowRecord::read) {
                // The next turn meets it anew, and sets it aside.
                Some(Err(_)) => return Ok(Status::Blocked),
                Some(Ok(record)) => Working::stored(record),
                None => Working::absent(now_ms),
            };
            let attempts = working.record.attempts + 1;
            let retry = shared.registry.get(address.kind()).map(|registered| registered.retry);
            let pause = match failure {
                Failure::Final(_) => None,
                _ => retry.and_then(|retry| retry.pause_ms(attempts, shared.fraction())),
            };
            let status = if pause.is_some() { Status::Failing } else { Status::Dead };
            working.stand(&mut tx, address, status, &reason);
            working.record.attempts = attempts;
            working.note(now_ms, event.to_owned(), &reason);
            if let Some(pause) = pause {
                working.set_own_timer(&mut tx, address, RETRY, now_ms + pause);
            }
            working.write(&mut tx, address).map_err(|failure| too_large(&failure))?;
            Ok::<_, Unleased>(status)
        })
        .await?;
    metrics::failed(address.kind());
    if status == Status::Dead {
        metrics::died(address.kind());
        tracing::error!(workflow = %address, event, reason, "workflow set aside; muster workflow retry tries it again");
    } else {
        tracing::warn!(workflow = %address, event, reason, "transition failed; it is tried again");
    }
    Ok(())
}

/// A record whose state has not been touched is no larger than it was.
fn too_large(failure: &Failure) -> StoreError {
    tracing::error!(%failure, "a workflow's record has grown too large to note its failure");
    StoreError::TransactionTooLarge
}
