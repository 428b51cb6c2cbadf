//! Keeps one matchmaker running for every queue there is.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_store::{Database, Watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::runner;
use crate::state::{StateError, queues};
use crate::{keyspace, wake};

/// Looks for queues again after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(10);
/// Most queues of an installation that are matched; those beyond, by name, are not.
pub(crate) const MAX_MATCHMAKERS: usize = 10_000;
/// Queues read in one transaction.
const PAGE: usize = 1_000;

/// Namespace and name.
type QueueKey = (String, String);

/// Runs matchmakers until `shutdown`, and ends when they have ended.
pub(crate) async fn run(db: Database, shutdown: CancellationToken) {
    let mut runners: BTreeMap<QueueKey, JoinHandle<()>> = BTreeMap::new();
    loop {
        let (watches, tick) = match look(&db).await {
            Ok((queues, watch)) => {
                runners.retain(|_, runner| !runner.is_finished());
                for (namespace, queue) in queues {
                    runners.entry((namespace.clone(), queue.clone())).or_insert_with(|| {
                        tokio::spawn(runner::run(db.clone(), namespace, queue, shutdown.clone()))
                    });
                }
                (vec![watch], TICK)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the queues");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        if !wake::sleep(&shutdown, watches, tick).await {
            break;
        }
    }
    for (_, runner) in runners {
        // A matchmaker that panicked has been reported by the runtime; the others are not its concern.
        let _ = runner.await;
    }
}

async fn look(db: &Database) -> Result<(Vec<QueueKey>, Watch), StateError> {
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
    Ok((found, watch))
}
