//! Tickets, from asking for a match to what came of it.
//!
//! Every step is one transaction. Putting tickets together is `matchmaking`'s; minting session tokens for
//! an assigned ticket is the API's, from what [`get`] gives.

mod explain;

pub use explain::{Explained, explain};

use muster_matchmaker::filter::{Filter, FilterError};
use muster_matchmaker::{Player, Queue, TicketError as Misfit};
use muster_protocol::api::{MAX_RECORDED, PartyMember, TicketRequest};
use muster_protocol::id::TicketId;
use muster_store::{Database, StoreError, Transaction, Watch};

use crate::keyspace;
use crate::lifecycle::standing;
use crate::matchmaking::{self, Answer, Fate, candidate, compile, dissolve};
use crate::random;
use crate::records::{
    EdgeRecord, MatchRecord, MatchState, QueueMode, QueueRecord, ServerRecord, TicketMember, TicketPriority,
    TicketRecord, TicketState,
};
use crate::seats;
use crate::state::tickets::MAX_SEARCHING;
use crate::state::{StateError, edges, matches, queues, recordings, servers, tickets};

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
    /// Its idempotency key made a ticket of another queue or player.
    #[error("idempotency_key {0:?} made another ticket; use a new key for a new request")]
    KeyUsed(String),
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

/// Takes a ticket into its queue, or back to the seats its players have, if the request leaves that open; the hash is of the
/// secret in the ticket's own token. One that the request's idempotency key made before is answered as it is. What the
/// request looks like by itself was checked before.
///
/// # Errors
/// [`TicketError`]; nothing is taken then.
pub async fn create(
    db: &Database,
    namespace: &str,
    request: &TicketRequest,
    token_sha256: &[u8],
    now_ms: u64,
) -> Result<TicketRecord, TicketError> {
    let ticket: TicketId = random::id();
    db.run("create_ticket", async |mut tx| {
        let queue = queues::peek(&mut tx, namespace, &request.queue).await?;
        let queue = queue.ok_or_else(|| TicketError::UnknownQueue(request.queue.clone()))?;
        let key = request.idempotency_key.as_deref().unwrap_or_default();
        if !key.is_empty()
            && let Some(made) = tickets::by_idempotency_key(&mut tx, namespace, key).await?
        {
            let is_same = made.queue == request.queue && made.player == request.player;
            return if is_same { Ok(made) } else { Err(TicketError::KeyUsed(key.to_owned())) };
        }
        let mut record = TicketRecord {
            id: Some(ticket.into()),
            token_sha256: token_sha256.to_vec(),
            ..asked(&queue, request, now_ms)
        };
        // Who comes back is no newcomer: neither the queue's mode nor its definition is in the way.
        if request.rejoin
            && let Some(back) = seats::rejoin(&mut tx, &record, now_ms).await?
        {
            return Ok(back);
        }
        if queue.mode() == QueueMode::Draining {
            return Err(TicketError::Draining(queue.name));
        }
        let (spec, compiled) = compile(&queue)?;
        admit(&compiled, request)?;
        // Without conflict, so that tickets do not contend: the bound may be passed by as many as race.
        let searching = tickets::count(&mut tx, namespace, &queue.name, TicketState::Searching).await?;
        if searching as usize >= MAX_SEARCHING {
            return Err(TicketError::QueueFull(queue.name));
        }
        if !request.rejoin {
            seats::give_up(&mut tx, &record, now_ms).await?;
        }
        record.recorded =
            spec.recording && recordings::count(&mut tx, namespace, &queue.name).await? < MAX_RECORDED;
        tickets::save(&mut tx, None, &record);
        Ok(record)
    })
    .await
}

/// The ticket that a request asks for, searching.
fn asked(queue: &QueueRecord, request: &TicketRequest, now_ms: u64) -> TicketRecord {
    TicketRecord {
        namespace: queue.namespace.clone(),
        queue: queue.name.clone(),
        player: request.player.clone(),
        latencies_ms: request.latencies_ms.clone(),
        state: TicketState::Searching.into(),
        created_at_ms: now_ms,
        expires_at_ms: now_ms + u64::from(queue.ticket_ttl_s) * 1_000,
        members: players(request).iter().map(TicketMember::from).collect(),
        filter: request.filter.clone(),
        blocks: request.blocks.clone(),
        priority: TicketPriority::from(request.priority).into(),
        idempotency_key: request.idempotency_key.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// The players of a request, the one who asks first.
fn players(request: &TicketRequest) -> Vec<PartyMember> {
    let asks = PartyMember { player: request.player.clone(), attributes: request.attributes.clone() };
    std::iter::once(asks).chain(request.party.iter().cloned()).collect()
}

/// Whether a request can be matched in a queue at all.
fn admit(queue: &Queue, request: &TicketRequest) -> Result<(), TicketError> {
    let known = |member: PartyMember| {
        Ok::<_, Misfit>(Player { attributes: queue.attributes(&member.attributes)?, name: member.player })
    };
    let players: Vec<Player> = players(request).into_iter().map(known).collect::<Result<_, _>>()?;
    if !request.filter.is_empty() {
        let filter = Filter::compile(&request.filter, queue.schema())?;
        filter.can_hold(None)?;
        players.iter().try_for_each(|player| filter.can_hold(Some(&player.attributes)))?;
    }
    Ok(queue.admits_players(players)?)
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
            let (_, compiled) = compile(&spec)?;
            if let Err(reason) = candidate(&compiled, record.typed_id(), &record.searching()) {
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
        let Some(mut before) = record else { return Ok(None) };
        // Without a queue there is nothing to search again in: such a match goes on without those who leave.
        if before.state() == TicketState::Matched
            && !before.queue.is_empty()
            && let Some(match_id) = before.match_id()
            && dissolve(&mut tx, match_id, Fate::Search, now_ms).await?
            && let Some(searching) = tickets::load(&mut tx, ticket).await?
        {
            before = searching;
        }
        if matches!(before.state(), TicketState::Matched | TicketState::Assigned) {
            seats::leave(&mut tx, &before, now_ms).await?;
            return tickets::load(&mut tx, ticket).await;
        }
        if before.state() != TicketState::Searching {
            return Ok(Some(before));
        }
        let mut after = before.clone();
        after.set_state(TicketState::Cancelled);
        after.ended_at_ms = now_ms;
        "cancelled".clone_into(&mut after.reason);
        tickets::save(&mut tx, Some(&before), &after);
        if queues::peek(&mut tx, namespace, &before.queue).await?.is_some() {
            tickets::tell_withdrawn(&mut tx, &after);
        }
        Ok(Some(after))
    })
    .await
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
