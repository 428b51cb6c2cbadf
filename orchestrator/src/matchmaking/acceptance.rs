//! Matches that wait until their players have accepted, in queues that ask for it (`accept_s`).
//!
//! No server is claimed before all have. One who declines, or does not answer in time, is out of the queue; the others
//! search on with the wait they had.

use muster_protocol::id::{MatchId, TicketId};
use muster_store::Transaction;

use super::commit::await_server;
use super::waiting::{Fate, assign_one, dissolve_each};
use crate::records::{MatchState, TicketRecord, TicketState};
use crate::state::{StateError, matches, tickets};

/// What a ticket's players answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They will play.
    Accept,
    /// They will not.
    Decline,
}

/// What a declined ticket is over for.
const DECLINED: Fate<'static> = Fate::Cancel("declined", "the match was declined");
/// What a ticket is over for that did not answer.
const NOT_ACCEPTED: Fate<'static> = Fate::Cancel("not_accepted", "the match was not accepted in time");

/// Takes the answer of a ticket: the ticket as it is then, or `None` if it is asked nothing. To accept again changes
/// nothing.
pub(crate) async fn answer(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    answer: Answer,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    let Some(match_id) = ticket.match_id().filter(|_| ticket.state() == TicketState::Matched) else {
        return Ok(None);
    };
    let Some(before) = matches::load(tx, match_id).await? else { return Ok(None) };
    let own = ticket.typed_id();
    let has_accepted = before.accepted.iter().any(|id| Some(*id) == ticket.id);
    if before.state() != MatchState::Proposed {
        // One that accepted, and does so again after the last of the others did, is answered as before.
        return Ok((has_accepted && answer == Answer::Accept).then(|| ticket.clone()));
    }
    match answer {
        Answer::Decline => {
            let fate = |ticket: TicketId| if ticket == own { DECLINED } else { Fate::Search };
            dissolve_each(tx, match_id, fate, now_ms).await?;
        }
        Answer::Accept if has_accepted => {}
        Answer::Accept => {
            let mut after = before.clone();
            after.accepted.push(own.into());
            if after.tickets().iter().all(|ticket| after.accepted.contains(&(*ticket).into())) {
                await_server(&mut after, now_ms);
            }
            matches::save(tx, Some(&before), &after);
            // From here on it is as any other match that waits for a server, and there may be one already.
            if after.state() == MatchState::Waiting {
                assign_one(tx, match_id, now_ms).await?;
            }
        }
    }
    tickets::load(tx, own).await
}

/// Ends the waiting for answers: those who have not accepted are out. Returns whether the match waited for any.
pub(crate) async fn lapse(tx: &mut Transaction, match_id: MatchId, now_ms: u64) -> Result<bool, StateError> {
    let Some(record) = matches::load(tx, match_id).await? else { return Ok(false) };
    if record.state() != MatchState::Proposed {
        return Ok(false);
    }
    let fate = |ticket: TicketId| {
        if record.accepted.contains(&ticket.into()) { Fate::Search } else { NOT_ACCEPTED }
    };
    dissolve_each(tx, match_id, fate, now_ms).await
}
