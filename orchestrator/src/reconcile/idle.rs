//! Idleness: stops claimed servers that nobody has played on for a while.
//!
//! Since when a server is idle is known in memory only: after a restart its time begins anew, which errs
//! on the side of the players.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use muster_protocol::id::ServerId;
use muster_store::Database;
use tokio_util::sync::CancellationToken;

use super::Flows;
use crate::keyspace;
use crate::lifecycle::happen;
use crate::lifecycle::machine::Event;
use crate::records::{LiveServer, ServerRecord, ServerState};
use crate::state::{StateError, kv, servers};
use crate::{clock, metrics, wake};

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Live servers read in one transaction.
const PAGE: usize = 1_000;

/// Since when each claimed server is idle.
#[derive(Debug, Default)]
pub(super) struct IdleTracker {
    since_ms: HashMap<ServerId, u64>,
}

impl IdleTracker {
    /// Notes whether a server is idle at `now_ms`, and returns for how long it has been, in milliseconds.
    fn observe(&mut self, server: ServerId, idle: bool, now_ms: u64) -> u64 {
        if idle {
            now_ms.saturating_sub(*self.since_ms.entry(server).or_insert(now_ms))
        } else {
            self.since_ms.remove(&server);
            0
        }
    }

    /// Forgets all servers but these.
    fn keep(&mut self, servers: &std::collections::HashSet<ServerId>) {
        self.since_ms.retain(|server, _| servers.contains(server));
    }
}

/// Runs until `shutdown`.
pub(super) async fn run(db: Database, flows: Flows, shutdown: CancellationToken) {
    let mut tracker = IdleTracker::default();
    loop {
        let began = Instant::now();
        let tick = match pass(&db, &flows, &mut tracker, clock::now_ms()).await {
            Ok(()) => TICK,
            Err(error) => {
                tracing::warn!(%error, "idle pass failed");
                wake::AFTER_FAILURE
            }
        };
        metrics::pass("idle", began.elapsed());
        if !wake::sleep(&shutdown, Vec::new(), tick).await {
            return;
        }
    }
}

/// One look at every claimed server.
pub(super) async fn pass(
    db: &Database,
    flows: &Flows,
    tracker: &mut IdleTracker,
    now_ms: u64,
) -> Result<(), StateError> {
    let mut range = keyspace::all_servers_live();
    let mut claimed = std::collections::HashSet::new();
    loop {
        let (page, records) = db
            .read("claimed_servers", async |mut tx| {
                let page = kv::scan::<LiveServer>(&mut tx, &range, PAGE).await?;
                let mut records = Vec::new();
                for (key, row) in &page {
                    if row.state() == ServerState::Allocated
                        && let Some(id) = keyspace::last_id(key)
                        && let Some(record) = servers::peek(&mut tx, id).await?
                    {
                        records.push(record);
                    }
                }
                Ok::<_, StateError>((page, records))
            })
            .await?;
        for record in records {
            let id = record.typed_id();
            claimed.insert(id);
            let idle = is_idle(&record, flows(&record.region, id));
            let idle_ms = tracker.observe(id, idle, now_ms);
            if record.idle_s > 0 && idle_ms >= u64::from(record.idle_s) * 1_000 {
                stop(db, id, now_ms).await?;
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => range = range.after(key),
            _ => break,
        }
    }
    tracker.keep(&claimed);
    Ok(())
}

/// Whether nobody is on a server: no flow, and no seat that the server says is connected. Not known is not
/// idle.
fn is_idle(record: &ServerRecord, flows: Option<u32>) -> bool {
    flows == Some(0) && (!record.uses_sdk || record.connected_seats.is_empty())
}

async fn stop(db: &Database, server: ServerId, now_ms: u64) -> Result<(), StateError> {
    db.run("stop_idle", async |mut tx| {
        let record = servers::load(&mut tx, server).await?;
        // A seat may have been taken since.
        if record.is_some_and(|record| record.state() == ServerState::Allocated && is_idle(&record, Some(0)))
        {
            tracing::info!(%server, "stopping an idle server");
            happen(&mut tx, server, &Event::Stop { reason: "idle" }, now_ms).await?;
        }
        Ok(())
    })
    .await
}
