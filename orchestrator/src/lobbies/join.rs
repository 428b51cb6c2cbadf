//! Joining a lobby that is named by its code or id.

use muster_protocol::api::JoinRequest;
use muster_store::{Database, Transaction};

use super::guests::Guests;
use super::{LobbyError, LobbyKey, load};
use crate::asker::Asker;
use crate::records::{MatchRecord, TicketRecord};
use crate::seats::{self, Comeback, SellError};
use crate::state::StateError;

/// Seats who asks in a lobby. Those who have seats in it already, and show that, get them again, with a new ticket. Otherwise as
/// [`super::create`].
///
/// # Errors
/// [`LobbyError`]; nothing is written then.
pub async fn join(
    db: &Database,
    namespace: &str,
    key: &LobbyKey,
    request: &JoinRequest,
    asker: &Asker,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let who = (request.player.as_str(), request.party.as_slice());
    let guests = Guests::new(namespace, who, request.idempotency_key.as_ref(), asker);
    db.run("join_lobby", async |mut tx| {
        if let Some(made) = guests.made_before(&mut tx).await? {
            return Ok(made);
        }
        let record = load(&mut tx, namespace, key).await?;
        let record = record.ok_or_else(|| LobbyError::Unknown(key.clone()))?;
        match enter(&mut tx, &record, &guests, now_ms).await? {
            Entry::Seated(ticket) => Ok(*ticket),
            Entry::Refused(error) => Err(error),
        }
    })
    .await
}

/// What came of trying to get in.
pub(super) enum Entry {
    /// They have seats.
    Seated(Box<TicketRecord>),
    /// They have none, and nothing was written.
    Refused(LobbyError),
}

/// Seats `guests` in a match that is under way.
pub(super) async fn enter(
    tx: &mut Transaction,
    record: &MatchRecord,
    guests: &Guests<'_>,
    now_ms: u64,
) -> Result<Entry, StateError> {
    let newcomer = guests.newcomer(&record.fleet, now_ms);
    // Who comes back is no newcomer: neither a full lobby nor a closed one is in the way.
    let owned = guests.asker.owned(tx, guests.namespace).await?;
    match seats::rejoin_match(tx, record, &newcomer.ticket, &owned, now_ms).await? {
        Comeback::Back(back) => return Ok(Entry::Seated(back)),
        Comeback::Unproven(player) => return Ok(Entry::Refused(LobbyError::Held(player))),
        Comeback::No => {}
    }
    if record.lobby.as_ref().is_some_and(|lobby| lobby.closed) {
        return Ok(Entry::Refused(LobbyError::Closed("the game lets nobody in for now")));
    }
    match seats::sell(tx, record, vec![newcomer], now_ms).await {
        Ok(tickets) => {
            let ticket = tickets.into_iter().next();
            Ok(Entry::Seated(Box::new(ticket.expect("as many tickets as newcomers, of which there is one"))))
        }
        Err(SellError::State(error)) => Err(error),
        Err(error) => Ok(Entry::Refused(LobbyError::unsold(record, error))),
    }
}
