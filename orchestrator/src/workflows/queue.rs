//! The workflow of one queue: says what keeps its matches from being made, and by its shard which orchestrator
//! makes them.
//!
//! The matches themselves are formed and committed beside it (`matchmaking`), each in a transaction of its
//! own: all of a big pool in one would contend with every ticket that comes.

use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};

use crate::records::TicketState;
use crate::state::{queues, tickets, workflows};

/// Keeps queues.
pub(crate) struct Queue;

impl Kind for Queue {
    const KIND: &'static str = workflows::QUEUE;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
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
            cx.finish(&())?;
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
