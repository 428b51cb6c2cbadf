//! What the orchestrator is to be told of servers: per server the newest only, so that no queue grows
//! while nobody listens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_protocol::agent::ServerReport;
use muster_protocol::id::ServerId;
use tokio::sync::Notify;

/// Newest report of every server; bounded by the table's bound on servers.
#[derive(Default)]
pub(crate) struct Reports {
    table: Mutex<Table>,
    news: Notify,
}

#[derive(Default)]
struct Table {
    newest: BTreeMap<ServerId, ServerReport>,
    unsent: BTreeSet<ServerId>,
}

impl Reports {
    /// `report` replaces the server's older one.
    pub(crate) fn put(&self, server: ServerId, report: ServerReport) {
        let mut table = self.lock();
        table.newest.insert(server, report);
        table.unsent.insert(server);
        self.news.notify_one();
    }

    /// Nobody is to be told of the server any more.
    pub(crate) fn forget(&self, server: &ServerId) {
        let mut table = self.lock();
        table.newest.remove(server);
        table.unsent.remove(server);
    }

    /// The server's container, if it has one.
    pub(super) fn container_of(&self, server: &ServerId) -> Option<String> {
        let id = self.lock().newest.get(server)?.container_id.clone();
        (!id.is_empty()).then_some(id)
    }

    /// Every server's newest report; all count as sent.
    pub(super) fn all(&self) -> Vec<ServerReport> {
        let mut table = self.lock();
        table.unsent.clear();
        table.newest.values().cloned().collect()
    }

    /// Waits until there are unsent reports, and takes them. Cancel-safe.
    pub(super) async fn unsent(&self) -> Vec<ServerReport> {
        loop {
            let notified = self.news.notified();
            {
                let mut table = self.lock();
                let unsent = std::mem::take(&mut table.unsent);
                if !unsent.is_empty() {
                    return unsent.iter().filter_map(|server| table.newest.get(server).cloned()).collect();
                }
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Each change is one insert or remove per map; half of a change only repeats a report.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server: ServerId, generation: u64) -> ServerReport {
        ServerReport { server_id: server.to_string(), generation, ..Default::default() }
    }

    #[tokio::test]
    async fn the_newest_wins_and_is_sent_once() {
        let reports = Reports::default();
        let (a, b) = (ServerId::new(), ServerId::new());
        reports.put(a, report(a, 1));
        reports.put(b, report(b, 1));
        reports.put(a, report(a, 2));
        reports.forget(&b);
        assert_eq!(reports.unsent().await, [report(a, 2)]);
        assert_eq!(reports.all(), [report(a, 2)]);
        reports.put(a, report(a, 3));
        assert_eq!(reports.all(), [report(a, 3)]);
        let later = tokio::time::timeout(std::time::Duration::from_millis(20), reports.unsent()).await;
        assert!(later.is_err(), "what hello carried is not sent again");
    }
}
