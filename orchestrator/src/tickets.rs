//! Tickets, from asking for a match to what came of it.
//!
//! Every step is one transaction. Putting tickets together is `matchmaking`'s; minting session tokens for
//! an assigned ticket is the API's, from what [`get`] gives.

use muster_protocol::api::{MAX_LATENCIES, MAX_PLAYER_BYTES, TicketRequest};
use muster_protocol::id::TicketId;
use muster_store::{Database, StoreError, Transaction, Watch};

use crate::keyspace;
use crate::lifecycle::standing;
use crate::matchmaking::{Fate, dissolve};
use crate::random;
use crate::records::{EdgeRecord, MatchRecord, ServerRecord, TicketRecord, TicketState};
use crate::state::tickets::MAX_SEARCHING;
use crate::state::{StateError, edges, matches, queues, servers, tickets};

/// Seconds after which a client whose ticket was refused for want of room may ask again.
pub const RETRY_AFTER_S: u32 = 5;

/// Why a ticket was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// There is no such queue.
    #[error("queue {0} does not exist; apply it first")]
    UnknownQueue(String),
    /// The queue has as many searching tickets as it may have.
    #[error("queue {0} is full with {MAX_SEARCHING} tickets; try again in {RETRY_AFTER_S} s")]
    QueueFull(String),
    /// The player's name is empty or too long.
    #[error("player must be 1 to {MAX_PLAYER_BYTES} bytes")]
    BadPlayer,
    /// Too many latencies, or of regions that cannot be names.
    #[error("latencies_ms may name at most {MAX_LATENCIES} regions, each by its name")]
    BadLatencies,
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// A ticket and what is known of where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TicketView {
    /// The ticket.
    pub record: TicketRecord,
    /// In words: what it waits for, or why it ended.
    pub explanation: String,
    /// Where its player goes; set once it is assigned.
    pub assignment: Option<AssignmentView>,
}

/// What an assigned ticket's player needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentView {
    /// The match.
    pub match_record: MatchRecord,
    /// The server, as it is now: it may be over already.
    pub server: ServerRecord,
    /// Edges of the server's region, connected ones first, those that serve the server before others.
    pub edges: Vec<EdgeRecord>,
}

/// Takes a ticket into its queue.
///
/// # Errors
/// [`TicketError`]; nothing is taken then.
pub async fn create(
    db: &Database,
    namespace: &str,
    request: &TicketRequest,
    now_ms: u64,
) -> Result<TicketRecord, TicketError> {
    if request.player.is_empty() || request.player.len() > MAX_PLAYER_BYTES {
        return Err(TicketError::BadPlayer);
    }
    let named = |region: &String| muster_protocol::api::is_name(region);
    if request.latencies_ms.len() > MAX_LATENCIES || !request.latencies_ms.keys().all(named) {
        return Err(TicketError::BadLatencies);
    }
    let ticket: TicketId = random::id();
    db.run("create_ticket", async |mut tx| {
        let queue = queues::peek(&mut tx, namespace, &request.queue).await?;
        let queue = queue.ok_or_else(|| TicketError::UnknownQueue(request.queue.clone()))?;
        // Without conflict, so that tickets do not contend: the bound may be passed by as many as race.
        let searching = tickets::count(&mut tx, namespace, &queue.name, TicketState::Searching).await?;
        if searching as usize >= MAX_SEARCHING {
            return Err(TicketError::QueueFull(queue.name));
        }
        let record = TicketRecord {
            id: Some(ticket.into()),
            namespace: namespace.to_owned(),
            queue: queue.name,
            player: request.player.clone(),
            latencies_ms: request.latencies_ms.clone(),
            state: TicketState::Searching.into(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms + u64::from(queue.ticket_ttl_s) * 1_000,
            ..Default::default()
        };
        tickets::save(&mut tx, None, &record);
        Ok(record)
    })
    .await
}

/// A ticket of `namespace`, or `None` if there is none.
///
/// # Errors
/// The store's.
pub async fn get(
    db: &Database,
    namespace: &str,
    ticket: TicketId,
    now_ms: u64,
) -> Result<Option<TicketView>, StateError> {
    db.read("get_ticket", async |mut tx| view(&mut tx, namespace, ticket, now_ms).await).await
}

/// As [`get`], with a watch that misses no change after it: for a long poll.
///
/// # Errors
/// The store's, too many watches among them.
pub async fn get_and_watch(
    db: &Database,
    namespace: &str,
    ticket: TicketId,
    now_ms: u64,
) -> Result<Option<(TicketView, Watch)>, StateError> {
    db.read("watch_ticket", async |mut tx| {
        let Some(view) = view(&mut tx, namespace, ticket, now_ms).await? else { return Ok(None) };
        let watch = tx.watch(&keyspace::ticket(ticket));
        Ok(Some((view, watch)))
    })
    .await
}

async fn view(
    tx: &mut Transaction,
    namespace: &str,
    ticket: TicketId,
    now_ms: u64,
) -> Result<Option<TicketView>, StateError> {
    let record = tickets::peek(tx, ticket).await?.filter(|record| record.namespace == namespace);
    let Some(record) = record else { return Ok(None) };
    let assignment = assignment(tx, &record).await?;
    let explanation = explain(tx, &record, assignment.as_ref(), now_ms).await?;
    Ok(Some(TicketView { record, explanation, assignment }))
}

async fn assignment(
    tx: &mut Transaction,
    record: &TicketRecord,
) -> Result<Option<AssignmentView>, StateError> {
    let (TicketState::Assigned, Some(match_id), Some(server)) =
        (record.state(), record.match_id(), record.server_id())
    else {
        return Ok(None);
    };
    let (Some(match_record), Some(server)) =
        (matches::peek(tx, match_id).await?, servers::peek(tx, server).await?)
    else {
        return Ok(None);
    };
    let mut edges = edges::list_in_region(tx, &server.region).await?;
    edges.sort_by_key(|edge| {
        let serves = edge.id.is_some_and(|id| server.routed_edges.contains(&id));
        (!edge.connected, !serves, edge.typed_id().uuid())
    });
    Ok(Some(AssignmentView { match_record, server, edges }))
}

async fn explain(
    tx: &mut Transaction,
    record: &TicketRecord,
    assignment: Option<&AssignmentView>,
    now_ms: u64,
) -> Result<String, StateError> {
    let (namespace, queue) = (&record.namespace, &record.queue);
    Ok(match record.state() {
        TicketState::Searching => {
            let Some(spec) = queues::peek(tx, namespace, queue).await? else {
                return Ok(format!("queue {queue} was deleted; this ticket will expire"));
            };
            let status = queues::status(tx, namespace, queue).await?;
            let searching = tickets::count(tx, namespace, queue, TicketState::Searching).await?;
            let mut words = format!("searching with {searching} of {} players in the queue", spec.players);
            for obstacle in &status.waiting_for {
                words.push_str("; ");
                words.push_str(obstacle);
            }
            words
        }
        TicketState::Matched => {
            let matched = match record.match_id() {
                Some(match_id) => matches::peek(tx, match_id).await?,
                None => None,
            };
            let mut words = "matched; a server is being started".to_owned();
            if let Some(matched) = matched {
                words = format!("matched; a server is being started in region {}", matched.region);
                for obstacle in
                    standing::waiting_for(tx, namespace, &matched.fleet, Some(&matched.region), now_ms)
                        .await?
                {
                    words.push_str("; ");
                    words.push_str(&obstacle);
                }
            }
            words
        }
        TicketState::Assigned => match assignment {
            Some(assignment) if assignment.server.state().is_final() => {
                format!("assigned to a server that is over ({})", assignment.server.reason)
            }
            Some(_) => "assigned".to_owned(),
            None => "assigned to a server that is no longer on record".to_owned(),
        },
        TicketState::Cancelled => "cancelled".to_owned(),
        TicketState::Expired => "no match was found before ticket_ttl_s was over".to_owned(),
        TicketState::Failed => record.detail.clone(),
    })
}

/// Withdraws a ticket: the ticket as it is then, or `None` if there is none. One that is over, or has a
/// server already, stays as it is. If it was in a match that waits for a server, the others search again.
///
/// # Errors
/// The store's.
pub async fn cancel(
    db: &Database,
    namespace: &str,
    ticket: TicketId,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    db.run("cancel_ticket", async |mut tx| {
        let record = tickets::load(&mut tx, ticket).await?.filter(|record| record.namespace == namespace);
        let Some(mut before) = record else { return Ok(None) };
        if before.state() == TicketState::Matched
            && let Some(match_id) = before.match_id()
            && dissolve(&mut tx, match_id, Fate::Search, now_ms).await?
            && let Some(searching) = tickets::load(&mut tx, ticket).await?
        {
            before = searching;
        }
        if before.state() != TicketState::Searching {
            return Ok(Some(before));
        }
        let mut after = before.clone();
        after.set_state(TicketState::Cancelled);
        after.ended_at_ms = now_ms;
        "cancelled".clone_into(&mut after.reason);
        tickets::save(&mut tx, Some(&before), &after);
        Ok(Some(after))
    })
    .await
}

/// Expires a ticket that still searches at its time.
pub(crate) async fn expire(tx: &mut Transaction, ticket: TicketId, now_ms: u64) -> Result<(), StateError> {
    if let Some(before) = tickets::load(tx, ticket).await?
        && before.state() == TicketState::Searching
        && before.expires_at_ms <= now_ms
    {
        let mut after = before.clone();
        after.set_state(TicketState::Expired);
        after.ended_at_ms = now_ms;
        "expired".clone_into(&mut after.reason);
        tickets::save(tx, Some(&before), &after);
    }
    Ok(())
}
