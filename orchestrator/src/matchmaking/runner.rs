//! The loop of one queue: serve matches that wait, form new ones, commit them, sleep until there is news.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use muster_engine::Clock;
use muster_store::{Database, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::commit::{Committed, commit_group};
use super::former::{self, Candidate};
use super::outlook::{self, Outlook};
use super::waiting::assign_waiting;
use crate::records::{QueueRecord, QueueStatusRecord};
use crate::state::tickets::MAX_SEARCHING;
use crate::state::{StateError, queues, tickets};
use crate::{keyspace, metrics, wake};

/// Looks again after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(5);
/// Most matches formed in one pass.
const MAX_MATCHES_PER_PASS: usize = 2_000;
/// Matches committed at the same time: they share the store's group commit.
const CONCURRENT_COMMITS: usize = 64;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Matches that got a server.
    pub(crate) assigned: usize,
    /// Matches that wait for one.
    pub(crate) waiting: usize,
    /// Groups one of whose tickets another had taken.
    pub(crate) stale: usize,
}

/// Runs the matchmaker of one queue until the queue is gone or `shutdown`.
pub(super) async fn run(
    db: Database,
    namespace: String,
    queue: String,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    loop {
        let began = Instant::now();
        let (watches, tick) = match pass(&db, &namespace, &queue, clock.now_ms()).await {
            Ok(None) => return,
            Ok(Some((did, watches))) => {
                if did != Pass::default() {
                    tracing::debug!(namespace, queue, ?did, "matchmaking pass");
                }
                (watches, TICK)
            }
            Err(error) => {
                tracing::warn!(namespace, queue, %error, "matchmaking pass failed");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        metrics::pass("matchmaking", began.elapsed());
        if !wake::breathe_and_sleep(&shutdown, began, watches, tick).await {
            return;
        }
    }
}

/// What a pass works from.
struct View {
    queue: QueueRecord,
    outlook: Outlook,
    pool: Vec<Candidate>,
    watches: Vec<Watch>,
}

/// One pass over a queue. `None` if there is no such queue. The watches were armed before anything was
/// read, so what changes after is not missed.
pub(crate) async fn pass(
    db: &Database,
    namespace: &str,
    queue: &str,
    now_ms: u64,
) -> Result<Option<(Pass, Vec<Watch>)>, StateError> {
    let mut did = Pass::default();
    let Some(record) = db.read("queue", async |mut tx| queues::peek(&mut tx, namespace, queue).await).await?
    else {
        return Ok(None);
    };
    did.assigned += assign_waiting(db, namespace, &record.fleet, now_ms).await?;
    let Some(view) = look(db, namespace, queue, now_ms).await? else { return Ok(None) };
    report(db, &view).await?;

    let players = view.queue.players.max(1) as usize;
    let groups = former::form(players, &view.outlook.offers, &view.pool, MAX_MATCHES_PER_PASS);
    let commits = groups.into_iter().map(|group| {
        let (view, offer) = (&view, &view.outlook.offers[group.region]);
        async move {
            let members: Vec<_> = group.members.iter().map(|at| view.pool[*at].ticket).collect();
            commit_group(db, &view.queue, &offer.name, &members, now_ms).await
        }
    });
    let mut commits = stream::iter(commits).buffer_unordered(CONCURRENT_COMMITS);
    while let Some(committed) = commits.next().await {
        match committed? {
            Committed::Assigned => did.assigned += 1,
            Committed::Waiting => did.waiting += 1,
            Committed::Stale => did.stale += 1,
        }
    }
    drop(commits);
    metrics::matches(did.assigned, did.waiting, did.stale);
    Ok(Some((did, view.watches)))
}

async fn look(db: &Database, namespace: &str, queue: &str, now_ms: u64) -> Result<Option<View>, StateError> {
    db.read("matchmaking_view", async |mut tx| {
        let Some(queue) = queues::peek(&mut tx, namespace, queue).await? else { return Ok(None) };
        let watches = vec![
            tx.watch(&keyspace::queue_revision(namespace, &queue.name)),
            tx.watch(&keyspace::fleet_revision(namespace, &queue.fleet)),
            tx.watch(&keyspace::machines_revision()),
        ];
        let outlook = outlook::of_queue(&mut tx, &queue, now_ms).await?;
        let searching = tickets::searching(&mut tx, namespace, &queue.name, MAX_SEARCHING).await?;
        let pool = searching
            .into_iter()
            .map(|(ticket, row)| {
                Candidate::new(ticket, &row.latencies_ms, &outlook.offers, queue.max_latency_ms)
            })
            .collect();
        Ok(Some(View { queue, outlook, pool, watches }))
    })
    .await
}

/// Writes what is in the way of the queue's matches, if it is news.
async fn report(db: &Database, view: &View) -> Result<(), StateError> {
    let mut waiting_for = view.outlook.waiting_for.clone();
    if !view.outlook.offers.is_empty() && view.pool.iter().any(|candidate| !candidate.can_play()) {
        let regions: Vec<&str> = view.outlook.offers.iter().map(|offer| offer.name.as_str()).collect();
        waiting_for.push(format!(
            "some players are over max_latency_ms = {} to every region that is served ({}); raise it, or serve a \
             region nearer to them",
            view.queue.max_latency_ms,
            regions.join(", ")
        ));
    }
    let status = QueueStatusRecord { waiting_for };
    let (namespace, queue) = (&view.queue.namespace, &view.queue.name);
    let known =
        db.read("queue_status", async |mut tx| queues::status(&mut tx, namespace, queue).await).await?;
    if known == status {
        return Ok(());
    }
    db.run("queue_status", async |mut tx| queues::set_status(&mut tx, namespace, queue, &status).await).await
}
