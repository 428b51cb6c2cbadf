//! Tickets, from asking for a match to what came of it.
//!
//! Every step is one transaction. Putting tickets together is `matchmaking`'s; minting session tokens for
//! an assigned ticket is the API's, from what [`get`] gives.

mod create;
mod explain;

pub use create::create;
pub use explain::{Explained, explain};

use muster_matchmaker::TicketError as Misfit;
use muster_matchmaker::filter::FilterError;
use muster_protocol::id::TicketId;
use muster_store::{Database, StoreError, Transaction, Watch};

use crate::asker::Made;
use crate::keyspace;
use crate::lifecycle::standing;
use crate::matchmaking::{self, Answer, Fate, candidate, compile, dissolve};
use crate::records::{EdgeRecord, MatchRecord, MatchState, ServerRecord, TicketRecord, TicketState};
use crate::seats::{self, Why};
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
    /// The queue takes no more tickets.
    #[error(
        "queue {0} is being drained and takes no tickets; `muster queue resume {0}` lets it take them again"
    )]
    Draining(String),
    /// It can never be matched in this queue.
    #[error("{0}")]
    Misfit(#[from] Misfit),
    /// Its filter does not go with the queue.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// Its idempotency key made a ticket for another request.
    #[error("idempotency_key {0:?} was used for another request; use a new key for a new request")]
    KeyUsed(String),
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<Made> for TicketError {
    fn from(made: Made) -> Self {
        match made {
            Made::Otherwise(key) => Self::KeyUsed(key),
            Made::State(error) => Self::State(error),
        }
    }
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
    /// What its players are asked, while its match waits for them.
    pub proposal: Option<Proposal>,
    /// Where its player goes; set once it is assigned.
    pub assignment: Option<AssignmentView>,
    /// The match of the lobby it has seats in.
    pub lobby: Option<MatchRecord>,
}

/// A match that waits until its players have accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Until when, Unix milliseconds.
    pub until_ms: u64,
    /// Whether this ticket has.
    pub accepted: bool,
    /// How many tickets have.
    pub have: usize,
    /// Of how many.
    pub of: usize,
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
    let proposal = proposal(tx, &record).await?;
    let explanation = match proposal {
        Some(Proposal { until_ms, accepted, have, of }) => {
            let left_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
            let own = if accepted { "the others have" } else { "accept or decline; there are" };
            format!("matched; {have} of {of} tickets have accepted, and {own} {left_s} s left")
        }
        None => in_words(tx, &record, assignment.as_ref(), now_ms).await?,
    };
    let lobby = lobby(tx, &record).await?;
    Ok(Some(TicketView { record, explanation, proposal, assignment, lobby }))
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
    if !match_record.holds(record.id, record.seat) {
        return Ok(None);
    }
    let mut edges = edges::list_in_region(tx, &server.region).await?;
    edges.sort_by_key(|edge| {
        let serves = edge.id.is_some_and(|id| server.routed_edges.contains(&id));
        (!edge.connected, !serves, edge.typed_id().uuid())
    });
    Ok(Some(AssignmentView { match_record, server, edges }))
}

async fn lobby(tx: &mut Transaction, record: &TicketRecord) -> Result<Option<MatchRecord>, StateError> {
    let has_seats = matches!(record.state(), TicketState::Matched | TicketState::Assigned);
    match record.match_id().filter(|_| has_seats && record.queue.is_empty()) {
        Some(match_id) => Ok(matches::peek(tx, match_id).await?.filter(|found| found.lobby.is_some())),
        None => Ok(None),
    }
}

async fn proposal(tx: &mut Transaction, record: &TicketRecord) -> Result<Option<Proposal>, StateError> {
    let (TicketState::Matched, Some(match_id)) = (record.state(), record.match_id()) else { return Ok(None) };
    let found = matches::peek(tx, match_id).await?;
    Ok(found.filter(|found| found.state() == MatchState::Proposed).map(|found| Proposal {
        until_ms: found.deadline_ms,
        accepted: found.accepted.iter().any(|id| Some(*id) == record.id),
        have: found.accepted.len(),
        of: found.tickets().len(),
    }))
}

async fn in_words(
    tx: &mut Transaction,
    record: &TicketRecord,
    assignment: Option<&AssignmentView>,
    now_ms: u64,
) -> Result<String, StateError> {
    let (namespace, queue) = (&record.namespace, &record.queue);
    Ok(match record.state() {
        TicketState::Searching => {
            let Some(spec) = queues::peek(tx, namespace, queue).await? else {
                return Ok(format!("queue {queue} was deleted; this ticket is about to fail"));
            };
            let status = queues::status(tx, namespace, queue).await?;
            let compiled = &compile(&spec)?.queue;
            if let Err(reason) = candidate(compiled, record.typed_id(), &record.searching()) {
                return Ok(format!("searching, but it cannot be matched: {reason}"));
            }
            let searching = tickets::count(tx, namespace, queue, TicketState::Searching).await?;
            let (least, most) = compiled.sizes();
            let needed = if least == most { most.to_string() } else { format!("{least} to {most}") };
            let tickets = if searching == 1 { "1 ticket" } else { &format!("{searching} tickets") };
            let mut words = format!("searching; {tickets} in the queue, and a match needs {needed} players");
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
            None => {
                "assigned to a server that is no longer on record, or to a seat it has no more".to_owned()
            }
        },
        TicketState::Cancelled if record.detail.is_empty() => "cancelled".to_owned(),
        TicketState::Expired => "no match was found before ticket_ttl_s was over".to_owned(),
        TicketState::Cancelled | TicketState::Failed => record.detail.clone(),
    })
}

/// Withdraws a ticket: the ticket as it is then, or `None` if there is none. One that is over stays as it is. If it was in
/// a match that waits for a server, the others search again; if it has seats in one that goes on, they are free.
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
        let Some(record) = record else { return Ok(None) };
        withdraw(&mut tx, record, CANCELLED, now_ms).await?;
        tickets::load(&mut tx, ticket).await
    })
    .await
}

/// What a ticket is over for that its players withdrew while it searched.
const CANCELLED: Why = Why("cancelled", "");

/// Withdraws a ticket: for `why`, unless it has seats in a match that goes on.
async fn withdraw(
    tx: &mut Transaction,
    mut ticket: TicketRecord,
    Why(reason, detail): Why,
    now_ms: u64,
) -> Result<(), StateError> {
    // Without a queue there is nothing to search again in: such a match goes on without those who leave.
    if ticket.state() == TicketState::Matched
        && !ticket.queue.is_empty()
        && let Some(match_id) = ticket.match_id()
        && dissolve(tx, match_id, Fate::Search, now_ms).await?
        && let Some(searching) = tickets::load(tx, ticket.typed_id()).await?
    {
        ticket = searching;
    }
    match ticket.state() {
        TicketState::Matched | TicketState::Assigned => seats::leave(tx, &ticket, now_ms).await,
        TicketState::Searching => {
            tickets::save(tx, Some(&ticket), &ticket.ended(TicketState::Cancelled, (reason, detail), now_ms));
            if queues::peek(tx, &ticket.namespace, &ticket.queue).await?.is_some() {
                tickets::tell_withdrawn(tx, &ticket);
            }
            Ok(())
        }
        TicketState::Cancelled | TicketState::Expired | TicketState::Failed => Ok(()),
    }
}

/// Takes what a ticket's players answer to a proposed match: the ticket as it is then, or `None` if there is no ticket, or
/// it is asked nothing.
///
/// # Errors
/// The store's.
pub async fn answer(
    db: &Database,
    namespace: &str,
    ticket: TicketId,
    answer: Answer,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    db.run("answer_ticket", async |mut tx| {
        let record = tickets::load(&mut tx, ticket).await?.filter(|record| record.namespace == namespace);
        match record {
            Some(record) => matchmaking::answer(&mut tx, &record, answer, now_ms).await,
            None => Ok(None),
        }
    })
    .await
}

/// Expires a ticket that still searches at its time.
pub(crate) async fn expire(tx: &mut Transaction, ticket: TicketId, now_ms: u64) -> Result<(), StateError> {
    if let Some(before) = tickets::load(tx, ticket).await?
        && before.state() == TicketState::Searching
        && before.expires_at_ms <= now_ms
    {
        tickets::save(tx, Some(&before), &before.ended(TicketState::Expired, ("expired", ""), now_ms));
    }
    Ok(())
}

/// Has a ticket fail that searches in vain, for a stable code and words.
pub(crate) async fn fail_searching(
    tx: &mut Transaction,
    ticket: TicketId,
    why: (&str, &str),
    now_ms: u64,
) -> Result<(), StateError> {
    if let Some(before) = tickets::load(tx, ticket).await?
        && before.state() == TicketState::Searching
    {
        tickets::save(tx, Some(&before), &before.ended(TicketState::Failed, why, now_ms));
    }
    Ok(())
}
