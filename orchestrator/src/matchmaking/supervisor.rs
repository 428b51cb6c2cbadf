//! Keeps one matchmaker running for every queue whose workflow is at home here, and for every further part of a queue
//! that is.
//!
//! While a lease moves, two orchestrators may run the same matchmaker, or none, for a moment: of two that form
//! the same match the store lets one win.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_engine::{Clock, ShardIndex};
use muster_store::{Database, Watch};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::runner;
use crate::state::{StateError, parts, queues, workflows};
use crate::{keyspace, wake};

/// Looks for queues again after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(10);
/// Most queues of an installation that are matched; those beyond, by name, are not.
pub(crate) const MAX_MATCHMAKERS: usize = 10_000;
/// Queues read in one transaction.
const PAGE: usize = 1_000;

/// The shards whose workflows are at home here.
pub(crate) type Shards = watch::Receiver<BTreeSet<ShardIndex>>;

/// Namespace and name of a queue, and one of its parts.
type PartKey = (String, String, usize);

/// A matchmaker at work.
struct Running {
    stop: CancellationToken,
    /// Ends with the supervisor, however that ends.
    task: AbortOnDropHandle<()>,
}

/// Runs matchmakers until `shutdown`, and ends when they have ended.
pub(crate) async fn run(
    db: Database,
    mut shards: Shards,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut running: BTreeMap<PartKey, Running> = BTreeMap::new();
    loop {
        let held = shards.borrow_and_update().clone();
        let (watches, tick) = match look(&db).await {
            Ok((parts, watch)) => {
                let home = |(namespace, queue, part): &PartKey| {
                    workflows::queue_part(namespace, queue, *part).shard()
                };
                let here: BTreeSet<PartKey> =
                    parts.into_iter().filter(|part| held.contains(&home(part))).collect();
                adjust(&mut running, here, &db, &clock, &shutdown);
                (vec![watch], TICK)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the queues");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        let moved = async {
            if shards.changed().await.is_err() {
                // The worker is gone, and shutdown is near.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = moved => {}
            goes_on = wake::sleep(&shutdown, watches, tick) => {
                if !goes_on {
                    break;
                }
            }
        }
    }
    for (_, runner) in running {
        // A matchmaker that panicked has been reported by the runtime; the others are not its concern.
        let _ = runner.task.await;
    }
}

/// Starts matchmakers of the parts that are `here`, and stops the others.
fn adjust(
    running: &mut BTreeMap<PartKey, Running>,
    here: BTreeSet<PartKey>,
    db: &Database,
    clock: &Arc<dyn Clock>,
    shutdown: &CancellationToken,
) {
    running.retain(|key, runner| {
        if !here.contains(key) {
            runner.stop.cancel();
        }
        !runner.task.is_finished()
    });
    for part in here {
        // One that is still stopping comes again with the next look.
        running.entry(part.clone()).or_insert_with(|| {
            let stop = shutdown.child_token();
            let task = tokio::spawn(runner::run(db.clone(), part, clock.clone(), stop.clone()));
            let task = AbortOnDropHandle::new(task);
            Running { stop, task }
        });
    }
}

/// Every part of every queue, and what changes when these do.
async fn look(db: &Database) -> Result<(Vec<PartKey>, Watch), StateError> {
    let watch = db.watch(&keyspace::queues_revision()).await?;
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while found.len() < MAX_MATCHMAKERS {
        let page =
            db.read("queues", async |mut tx| queues::page(&mut tx, after.as_deref(), PAGE).await).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.to_vec());
        found.extend(page.into_iter().map(|(_, queue)| (queue.namespace, queue.name)));
    }
    found.truncate(MAX_MATCHMAKERS);
    let counts = db.read("queue_parts", async |mut tx| parts::counts(&mut tx, MAX_MATCHMAKERS).await).await?;
    let parts = found.into_iter().flat_map(|(namespace, queue)| {
        let count = counts.get(&(namespace.clone(), queue.clone())).copied().unwrap_or(1);
        (0..count).map(move |part| (namespace.clone(), queue.clone(), part))
    });
    Ok((parts.collect(), watch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_engine::SystemClock;

    use crate::testing::eventually;
    use crate::world::{NAMESPACE, QUEUE, World};

    #[tokio::test]
    async fn a_matchmaker_runs_where_the_workflow_of_its_queue_is() {
        let world = World::with_region().await;
        world.catch_up();
        world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
        world.apply_queue(1).await;
        world.settle().await;
        let (tell, shards) = watch::channel(BTreeSet::new());
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(run(world.db.clone(), shards, Arc::new(SystemClock), stop.clone()));
        let ann = world.ticket("ann").await;
        let all: BTreeSet<ShardIndex> = (0..muster_engine::limits::SHARDS).collect();
        let home = workflows::queue(NAMESPACE, QUEUE).shard();
        // Everything is at home here but that queue: nobody may match it.
        tell.send_replace(all.iter().copied().filter(|shard| *shard != home).collect());
        world.apply_other_queue("other").await;
        let bob = world.ticket_in("other", "bob").await;
        eventually("the other queue's match", async || world.see(bob).await.assignment.map(drop)).await;
        assert!(world.see(ann).await.assignment.is_none());
        world.settle().await;
        tell.send_replace(all);
        eventually("the match", async || world.see(ann).await.assignment.map(drop)).await;
        stop.cancel();
        supervisor.await.expect("ends");
    }
}
