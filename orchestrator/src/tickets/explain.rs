//! Why a ticket is not matched: the ticket, those that search beside it, and the regions, read at one moment and held
//! against the queue's rules.
//!
//! Made by whichever replica is asked: it reads what the matchmaker reads, and no more of a big queue than a bound.

use muster_matchmaker::Pool;
use muster_matchmaker::explain::Explanation;
use muster_protocol::id::TicketId;
use muster_store::{Database, Transaction};

use crate::matchmaking::{candidate, compile, offers, opening};
use crate::records::{QueueStatusRecord, TicketRecord, TicketState};
use crate::seats;
use crate::state::{StateError, matches, queues, tickets};

/// Most other tickets read: those that have searched longest.
const MAX_READ: usize = 5_000;
/// Most running matches read, each with its tickets: those that were made first.
const MAX_OPENINGS_READ: usize = 64;

/// Why a ticket is where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The ticket.
    pub record: TicketRecord,
    /// In words: what it waits for, or why it ended.
    pub explanation: String,
    /// How its queue does.
    pub status: QueueStatusRecord,
    /// What its search is like; `None` if it searches no more, or cannot as the queue is defined.
    pub search: Option<Explanation>,
    /// It searches, though its player has a seat in a match of the queue: whoever asked did not show that it is theirs, or
    /// not all who come along have one there.
    pub is_seated: bool,
}

/// Explains a ticket of `namespace`; `None` if there is none.
///
/// # Errors
/// The store's.
pub async fn explain(
    db: &Database,
    namespace: &str,
    ticket: TicketId,
    now_ms: u64,
) -> Result<Option<Explained>, StateError> {
    db.read("explain_ticket", async |mut tx| {
        let Some(view) = super::view(&mut tx, namespace, ticket, now_ms).await? else { return Ok(None) };
        let (record, explanation) = (view.record, view.explanation);
        let status = queues::status(&mut tx, namespace, &record.queue).await?;
        let (mut found, mut is_seated) = (None, false);
        if record.state() == TicketState::Searching {
            found = search(&mut tx, &record, now_ms).await?;
            is_seated = seats::is_seated(&mut tx, &record).await?;
        }
        Ok(Some(Explained { record, explanation, status, search: found, is_seated }))
    })
    .await
}

async fn search(
    tx: &mut Transaction,
    record: &TicketRecord,
    now_ms: u64,
) -> Result<Option<Explanation>, StateError> {
    let (namespace, name, own) = (&record.namespace, &record.queue, record.typed_id());
    let Some(queue) = queues::peek(tx, namespace, name).await? else { return Ok(None) };
    let offers = offers(tx, &queue, now_ms).await?;
    let mut pool = Pool::new(compile(&queue)?.queue.clone());
    let beside = tickets::searching(tx, namespace, name, None, MAX_READ).await?;
    let rows = beside.into_iter().map(|(_, ticket, row)| (ticket, row)).chain([(own, record.searching())]);
    for (ticket, row) in rows {
        // Those that cannot be matched as the queue is defined are nobody's candidates.
        if let Ok(candidate) = candidate(pool.queue(), ticket, &row) {
            let _ = pool.insert(candidate);
        }
    }
    for (_, match_id) in matches::open(tx, namespace, name, None, MAX_OPENINGS_READ).await? {
        if let Some(opening) = opening(tx, pool.queue(), match_id).await? {
            pool.open(opening);
        }
    }
    Ok(pool.explain(own.uuid().as_u128(), now_ms, &offers))
}
