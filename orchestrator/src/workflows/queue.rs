//! The workflow of one queue: says what keeps its matches from being made, and by its shard which orchestrator
//! makes them.
//!
//! The matches themselves are formed and committed beside it (`matchmaking`), each in a transaction of its
//! own: all of a big pool in one would contend with every ticket that comes.

use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_store::Transaction;

use crate::records::TicketState;
use crate::state::{StateError, queues, tickets, workflows};

/// Tickets of a deleted queue that end in one transaction.
const ABANDONED_TOGETHER: usize = 200;

/// Keeps queues.
pub(crate) struct Queue;

impl Kind for Queue {
    const KIND: &'static str = workflows::QUEUE;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
}

/// Has tickets that search in a queue which is no more fail, the longest waiting first. Returns whether there may be more.
pub(super) async fn abandon(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    now_ms: u64,
) -> Result<bool, StateError> {
    let found = tickets::searching(tx, namespace, name, None, ABANDONED_TOGETHER).await?;
    for (_, ticket, _) in &found {
        crate::tickets::fail_searching(tx, *ticket, ("queue_deleted", "its queue was deleted"), now_ms)
            .await?;
    }
    Ok(found.len() == ABANDONED_TOGETHER)
}

impl Machine for Queue {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            return Ok(());
        }
        let address = cx.address().clone();
        let (namespace, name) = (address.namespace(), address.key());
        let Some(record) = queues::peek(cx.tx(), namespace, name).await? else {
            let now_ms = cx.now_ms();
            if abandon(cx.tx(), namespace, name, now_ms).await? {
                cx.waiting_for("the end of the tickets that still search in it: it was deleted");
                cx.again();
            } else {
                cx.finish(&())?;
            }
            return Ok(());
        };
        let status = queues::status(cx.tx(), namespace, name).await?;
        let searching = tickets::count(cx.tx(), namespace, name, TicketState::Searching).await?;
        cx.waiting_for(&match status.waiting_for.as_slice() {
            [] => {
                format!("{} players for a match; {searching} searched when this was written", record.players)
            }
            reasons => reasons.join("; "),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{NAMESPACE, QUEUE, World};

    #[tokio::test]
    async fn tickets_of_a_deleted_queue_fail_and_say_why() {
        let world = World::with_region().await;
        world.apply_fleet("sha256:one", &[("eu", 0, 9)]).await;
        world.apply_queue(2).await;
        let ann = world.ticket("ann").await;
        let (db, now_ms) = (&world.db, world.now_ms());
        db.run("delete", async |mut tx| queues::delete(&mut tx, NAMESPACE, QUEUE).await)
            .await
            .expect("deleted");
        let left = db.run("abandon", async |mut tx| abandon(&mut tx, NAMESPACE, QUEUE, now_ms).await).await;
        assert!(!left.expect("written"), "there was one");
        let seen = world.see(ann).await;
        assert_eq!(
            (seen.record.state(), seen.record.reason.as_str()),
            (TicketState::Failed, "queue_deleted")
        );
        assert_eq!(seen.explanation, "its queue was deleted");
        let report = crate::check::check(db).await.expect("read");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}
