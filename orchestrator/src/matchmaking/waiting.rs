//! Matches that found no warm server: serving them when one is ready, and giving them up.

use muster_protocol::id::{MatchId, TicketId};
use muster_store::{Database, Transaction};

use super::commit::assign;
use crate::lifecycle::claim_warm;
use crate::records::{MatchRecord, MatchState, TicketRecord, TicketState};
use crate::seats::assign_ticket;
use crate::state::{StateError, matches, tickets};

/// Waiting matches served in one transaction.
const SERVED_TOGETHER: usize = 16;

/// How far waiting matches were served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Matches that got a server.
    pub(crate) count: usize,
    /// Others may get one too.
    pub(crate) more: bool,
}

/// Gives waiting matches of a fleet warm servers, oldest first, as far as those go. Returns how many.
pub(crate) async fn assign_waiting(
    db: &Database,
    namespace: &str,
    fleet: &str,
    now_ms: u64,
) -> Result<usize, StateError> {
    let mut total = 0;
    loop {
        let served = db
            .run("serve_waiting", async |mut tx| {
                serve_waiting(&mut tx, namespace, fleet, SERVED_TOGETHER, now_ms).await
            })
            .await?;
        total += served.count;
        if !served.more {
            return Ok(total);
        }
    }
}

/// As [`assign_waiting`], at most `limit` of them, in a transaction that is under way.
pub(crate) async fn serve_waiting(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    limit: usize,
    now_ms: u64,
) -> Result<Served, StateError> {
    let mut served = Served::default();
    let mut exhausted: Option<String> = None;
    for (region, match_id) in matches::waiting(tx, namespace, fleet).await? {
        if exhausted.as_ref() == Some(&region) {
            continue;
        }
        if served.count == limit {
            served.more = true;
            break;
        }
        match assign_one(tx, match_id, now_ms).await? {
            Outcome::Assigned => served.count += 1,
            Outcome::Gone => {}
            Outcome::NoServer => exhausted = Some(region),
        }
    }
    Ok(served)
}

/// What came of looking for one match's server.
pub(super) enum Outcome {
    /// It has one.
    Assigned,
    /// It waits no more.
    Gone,
    /// None is warm.
    NoServer,
}

/// Gives a match that waits a warm server, if there is one.
pub(super) async fn assign_one(
    tx: &mut Transaction,
    match_id: MatchId,
    now_ms: u64,
) -> Result<Outcome, StateError> {
    let before = matches::load(tx, match_id).await?;
    let Some(before) = before.filter(|record| record.state() == MatchState::Waiting) else {
        return Ok(Outcome::Gone);
    };
    let (namespace, fleet, region) = (&before.namespace, &before.fleet, &before.region);
    let Some(server) = claim_warm(tx, namespace, fleet, region, match_id, now_ms).await? else {
        return Ok(Outcome::NoServer);
    };
    let mut after = before.clone();
    assign(&mut after, &server, now_ms);
    matches::save(tx, Some(&before), &after);
    for ticket in after.tickets() {
        if let Some(before) = tickets::load(tx, ticket).await?
            && before.state() == TicketState::Matched
        {
            let mut after = before.clone();
            assign_ticket(&mut after, server.id, now_ms);
            tickets::save(tx, Some(&before), &after);
        }
    }
    Ok(Outcome::Assigned)
}

/// What becomes of the tickets of a match that is dissolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// They search again, in their old place.
    Search,
    /// They are cancelled, for this reason: a stable code and words.
    Cancel(&'a str, &'a str),
    /// They fail, for this reason.
    Fail(&'a str, &'a str),
}

/// What a ticket without a queue is over for: there is nothing to search again in.
const LOBBY_GIVEN_UP: Fate<'static> = Fate::Fail(
    "given_up",
    "its fleet was changed or deleted before the lobby had a server; make or find another",
);

/// Dissolves a match that waits, for a server or for its players to accept; any other is left alone. Returns whether it
/// was.
pub(crate) async fn dissolve(
    tx: &mut Transaction,
    match_id: MatchId,
    fate: Fate<'_>,
    now_ms: u64,
) -> Result<bool, StateError> {
    dissolve_each(tx, match_id, |_| fate, now_ms).await
}

/// As [`dissolve`], each ticket with a fate of its own.
pub(super) async fn dissolve_each<'a>(
    tx: &mut Transaction,
    match_id: MatchId,
    fate_of: impl Fn(TicketId) -> Fate<'a>,
    now_ms: u64,
) -> Result<bool, StateError> {
    let before = matches::load(tx, match_id).await?;
    let waits = |record: &MatchRecord| matches!(record.state(), MatchState::Waiting | MatchState::Proposed);
    let Some(before) = before.filter(waits) else { return Ok(false) };
    let fate_of = |ticket| match fate_of(ticket) {
        Fate::Search if before.queue.is_empty() => LOBBY_GIVEN_UP,
        fate => fate,
    };
    let mut after: MatchRecord = before.clone();
    after.set_state(MatchState::Dissolved);
    after.ended_at_ms = now_ms;
    let reasons = before.tickets().into_iter().find_map(|ticket| match fate_of(ticket) {
        Fate::Search => None,
        Fate::Cancel(reason, _) | Fate::Fail(reason, _) => Some(reason),
    });
    after.reason = reasons.unwrap_or_default().to_owned();
    matches::save(tx, Some(&before), &after);
    for ticket in before.tickets() {
        let Some(before) = tickets::load(tx, ticket).await? else { continue };
        if before.state() != TicketState::Matched {
            continue;
        }
        let after = match fate_of(ticket) {
            Fate::Search => unmatched(&before),
            Fate::Cancel(reason, detail) => before.ended(TicketState::Cancelled, (reason, detail), now_ms),
            Fate::Fail(reason, detail) => before.ended(TicketState::Failed, (reason, detail), now_ms),
        };
        tickets::save(tx, Some(&before), &after);
    }
    Ok(true)
}

/// The ticket as it searches again, in its old place.
fn unmatched(ticket: &TicketRecord) -> TicketRecord {
    let mut after = ticket.clone();
    after.set_state(TicketState::Searching);
    after.matched_at_ms = 0;
    after.r#match = None;
    after.seat = None;
    after.team.clear();
    after.members.iter_mut().for_each(|member| member.seat = None);
    after
}
