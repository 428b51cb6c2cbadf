//! Reports on their way from an agent's link into the store.
//!
//! The link is read as fast as it speaks; a report waits here until its transaction is done. A newer
//! report of the same server replaces one that waits, since each says everything, so what waits is
//! bounded by the servers of a node. A store that cannot write now is tried again; nothing is dropped.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use muster_engine::Clock;
use muster_protocol::agent::ServerReport;
use muster_protocol::id::{NodeId, ServerId};
use muster_store::Database;
use tokio::sync::Notify;

use crate::lifecycle::{self, MAX_CONCURRENT, StepError};
use crate::links::Ended;
use crate::metrics;

/// Servers whose reports may wait at once: more than a node can run.
const MAX_WAITING: usize = 16_384;
/// Pause before a report that the store did not take is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The link has said more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reports of more than {MAX_WAITING} servers wait for the store")]
pub(crate) struct Overflow;

/// Reports that wait for the store.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<BTreeMap<ServerId, ServerReport>>,
    arrived: Notify,
}

impl Inbox {
    /// Takes a report in, in place of an older one of the same server. One that names no server is
    /// passed over.
    pub(crate) fn push(&self, report: ServerReport) -> Result<(), Overflow> {
        let Ok(server) = report.server_id.parse::<ServerId>() else {
            tracing::warn!(server = report.server_id, "report of something that is no server");
            return Ok(());
        };
        let mut waiting = self.lock();
        if waiting.len() >= MAX_WAITING && !waiting.contains_key(&server) {
            return Err(Overflow);
        }
        waiting.insert(server, report);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Everything that waits; waits itself until there is something.
    async fn take(&self) -> BTreeMap<ServerId, ServerReport> {
        loop {
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Lets a report wait again, unless a newer one has come.
    fn put_back(&self, server: ServerId, report: ServerReport) {
        self.lock().entry(server).or_insert(report);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, ServerReport>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what comes into `inbox` to the store, until dropped or until the link of `session` is not the node's
/// newest any more.
pub(crate) async fn apply(
    db: &Database,
    clock: &dyn Clock,
    (node, session): (NodeId, u64),
    inbox: &Inbox,
) -> Result<Infallible, Ended> {
    loop {
        let batch = inbox.take().await;
        let failed = stream::iter(batch)
            .map(async |(server, report)| {
                match lifecycle::server_reported(db, node, session, &report, clock.now_ms()).await {
                    Ok(()) => {
                        metrics::server_report();
                        Ok(false)
                    }
                    Err(StepError::Superseded(_)) => Err(Ended::WrittenOff),
                    Err(error) => {
                        tracing::warn!(%node, %server, %error, "report not written; trying again");
                        inbox.put_back(server, report);
                        Ok(true)
                    }
                }
            })
            .buffer_unordered(MAX_CONCURRENT)
            .try_fold(false, async |any, failed| Ok(any || failed))
            .await?;
        if failed {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server: ServerId, generation: u64) -> ServerReport {
        ServerReport { server_id: server.to_string(), generation, ..Default::default() }
    }

    #[tokio::test]
    async fn the_newest_report_of_a_server_is_the_one_that_counts() {
        let inbox = Inbox::default();
        let (one, two) = (ServerId::new(), ServerId::new());
        for (server, generation) in [(one, 1), (two, 1), (one, 2)] {
            inbox.push(report(server, generation)).expect("room");
        }
        let taken = inbox.take().await;
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[&one].generation, 2);
        // It failed; meanwhile a newer one came for `one`, none for `two`.
        inbox.push(report(one, 3)).expect("room");
        for (server, report) in taken {
            inbox.put_back(server, report);
        }
        let taken = inbox.take().await;
        assert_eq!((taken[&one].generation, taken[&two].generation), (3, 1));
    }

    #[test]
    fn what_waits_is_bounded() {
        let inbox = Inbox::default();
        let first = ServerId::new();
        inbox.push(report(first, 1)).expect("room");
        for _ in 1..MAX_WAITING {
            inbox.push(report(ServerId::new(), 1)).expect("room");
        }
        assert_eq!(inbox.push(report(ServerId::new(), 1)), Err(Overflow));
        inbox.push(report(first, 2)).expect("a newer report needs no room");
        inbox.push(ServerReport::default()).expect("passed over");
    }
}
