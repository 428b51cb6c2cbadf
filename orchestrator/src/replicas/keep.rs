//! Saying where this replica is, and forgetting where dead ones were.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::{WorkerId, inspect};
use tokio_util::sync::CancellationToken;

use super::{is_closed, record};
use crate::app::App;
use crate::state::{StateError, replicas};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Writes where this replica is.
///
/// # Errors
/// The store's.
pub(crate) async fn announce(app: &App) -> Result<(), StateError> {
    app.db
        .run("announce_replica", async |mut tx| {
            replicas::save(&mut tx, app.replica, &record(app));
            Ok::<_, StateError>(())
        })
        .await
}

/// Takes back where this replica is, at its stop.
pub(crate) async fn withdraw(app: &App) {
    let withdrawn = app
        .db
        .run("withdraw_replica", async |mut tx| {
            replicas::remove(&mut tx, app.replica);
            Ok::<_, StateError>(())
        })
        .await;
    if let Err(error) = withdrawn {
        tracing::warn!(%error, "not written that this orchestrator is gone; the others find out");
    }
}

/// Keeps the rows of replicas true until `stop`.
pub(crate) async fn keep(app: Arc<App>, stop: CancellationToken) {
    let mut dead = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        dead = match pass(&app, &dead).await {
            Ok(dead) => dead,
            Err(error) if is_closed(&error) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the other orchestrators; trying again");
                dead
            }
        };
    }
}

/// Removes the rows of `before` whose worker is still not there; those without a worker now. Two looks,
/// because a replica that has just started is written before its worker is.
async fn pass(app: &App, before: &BTreeSet<WorkerId>) -> Result<BTreeSet<WorkerId>, StateError> {
    let (rows, workers) = app
        .db
        .read("replicas", async |mut tx| {
            Ok::<_, StateError>((replicas::list(&mut tx).await?, inspect::workers(&mut tx).await?))
        })
        .await?;
    // One that stood still was taken for dead; it is not.
    if !rows.iter().any(|(id, _)| *id == app.replica) {
        announce(app).await?;
    }
    let dead: BTreeSet<WorkerId> =
        rows.iter().map(|(id, _)| *id).filter(|id| *id != app.replica && !workers.contains(id)).collect();
    for gone in dead.intersection(before) {
        tracing::warn!(replica = %gone, "an orchestrator is gone; its machines dial another");
        app.db
            .run("forget_replica", async |mut tx| {
                replicas::remove(&mut tx, *gone);
                Ok::<_, StateError>(())
            })
            .await?;
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ReplicaRecord;
    use crate::testing::Bench;

    #[tokio::test]
    async fn dead_replicas_are_forgotten_and_this_one_is_not() {
        let bench = Bench::start().await;
        let dead = WorkerId::random();
        let written = bench.app.db.run("test", async |mut tx| {
            replicas::save(&mut tx, dead, &ReplicaRecord::default());
            Ok::<_, StateError>(())
        });
        written.await.expect("written");
        let first = pass(&bench.app, &BTreeSet::new()).await.expect("a pass");
        assert_eq!(first, BTreeSet::from([dead]));
        pass(&bench.app, &first).await.expect("a pass");
        let rows = bench.app.db.read("test", async |mut tx| replicas::list(&mut tx).await).await;
        let ids: Vec<_> = rows.expect("readable").into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [bench.app.replica]);
        bench.stop().await;
    }
}
