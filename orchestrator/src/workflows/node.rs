//! The workflow of one node: gives it up once its link has been down for too long, and its servers with it.

use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_protocol::id::NodeId;
use muster_store::Transaction;

use crate::lifecycle::{Lost, give_up_node};
use crate::state::{StateError, nodes, workflows};

/// The timer of the node's loss.
const LOSS_TIMER: &str = "loss";

/// Keeps nodes.
pub(crate) struct Node;

impl Kind for Node {
    const KIND: &'static str = workflows::NODE;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
}

impl Machine for Node {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            return Ok(());
        }
        let (key, now_ms) = (cx.address().key().to_owned(), cx.now_ms());
        let node: NodeId =
            key.parse().map_err(|error| Failure::Because(format!("{key:?} is no node: {error}")))?;
        let looked = look(cx.tx(), node, now_ms).await?;
        match looked {
            Looked::Gone => cx.finish(&())?,
            Looked::Until(loss_due_ms) => {
                cx.set_timer(LOSS_TIMER, loss_due_ms)?;
                cx.waiting_for("its agent to connect again, before its servers are given up");
            }
            Looked::More => cx.again(),
            Looked::Connected => {
                cx.cancel_timer(LOSS_TIMER);
                cx.waiting_for("a change of its link");
            }
            Looked::Lost => {
                cx.cancel_timer(LOSS_TIMER);
                cx.waiting_for("its agent to connect again; its servers were given up");
            }
        }
        Ok(())
    }
}

/// What a look at a node found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// There is no such node.
    Gone,
    /// It is connected.
    Connected,
    /// It is given up then, Unix milliseconds, unless it comes back.
    Until(u64),
    /// It is being given up, and more of its servers are there.
    More,
    /// It is given up.
    Lost,
}

/// Looks at the node, and gives up some of its servers if its time is over.
pub(crate) async fn look(tx: &mut Transaction, node: NodeId, now_ms: u64) -> Result<Looked, StateError> {
    let Some(record) = nodes::load(tx, node).await? else { return Ok(Looked::Gone) };
    if record.connected {
        return Ok(Looked::Connected);
    }
    if record.lost || record.loss_due_ms == 0 {
        return Ok(Looked::Lost);
    }
    if record.loss_due_ms > now_ms {
        return Ok(Looked::Until(record.loss_due_ms));
    }
    match give_up_node(tx, record, now_ms).await? {
        Lost::More => Ok(Looked::More),
        Lost::Whole => Ok(Looked::Lost),
    }
}
