//! Who asks for seats, beyond what the request says: as whoever took the request in has made out.
//!
//! A player's name proves nothing: whoever may ask at all may write any. So a name leads back to a seat, or gives one up,
//! only with proof that the seat is theirs: the own token of the ticket that holds it. A studio's backend knows who its
//! players are, and needs none. How tokens are read off a request is the API's.

use muster_protocol::id::TicketId;
use muster_store::Transaction;
use subtle::ConstantTimeEq as _;

use crate::records::{MatchSeat, TicketRecord};
use crate::state::{StateError, tickets};

/// Most tickets of one player that are looked at, the newest: a player has one as a rule, and those of the matches they played
/// of late.
const MAX_LOOKED_AT: usize = 8;

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// Of the secret in the own token of the ticket that is made for them.
    pub token_sha256: Vec<u8>,
    /// Of the whole request, what it is about and who asks, if it has an idempotency key: what the key made is theirs if it was
    /// asked for just so.
    pub request_sha256: Vec<u8>,
    /// They know who their players are: a studio's backend.
    pub vouches: bool,
    /// Tokens of older tickets that they show.
    pub shown: Vec<ShownTicket>,
}

/// A ticket's own token as it is shown: whose it claims to be, and the hash of what proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownTicket {
    /// The ticket.
    pub id: TicketId,
    /// Of its secret.
    pub secret_sha256: [u8; 32],
}

impl ShownTicket {
    /// Whether its secret is that of `record`.
    pub(crate) fn proves(&self, record: &TicketRecord) -> bool {
        self.secret_sha256.ct_eq(record.token_sha256.as_slice()).into()
    }
}

impl Asker {
    /// The ticket that an idempotency key made before, or `None` if it has made none. Conflicts with others who use the key.
    ///
    /// # Errors
    /// [`Made::Otherwise`] if it was another request that made it.
    pub(crate) async fn made_before(
        &self,
        tx: &mut Transaction,
        namespace: &str,
        key: Option<&str>,
    ) -> Result<Option<TicketRecord>, Made> {
        let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
        match tickets::by_idempotency_key(tx, namespace, key).await? {
            Some(made) if made.request_sha256 != self.request_sha256 => Err(Made::Otherwise(key.to_owned())),
            made => Ok(made),
        }
    }

    /// What they may dispose of in `namespace`. Tokens that prove nothing, of tickets that are long over as well, are passed
    /// over; the tickets of the others count as read.
    pub(crate) async fn owned(&self, tx: &mut Transaction, namespace: &str) -> Result<Owned, StateError> {
        let mut tickets = Vec::with_capacity(self.shown.len());
        for shown in &self.shown {
            let record = tickets::load(tx, shown.id).await?;
            tickets.extend(record.filter(|record| record.namespace == namespace && shown.proves(record)));
        }
        Ok(Owned { vouched: self.vouches, tickets })
    }

    /// As [`Self::owned`], and of a backend the tickets that are under way of whoever is in `ticket`, in its queue, as far as it
    /// asked for them.
    pub(crate) async fn owned_beside(
        &self,
        tx: &mut Transaction,
        ticket: &TicketRecord,
    ) -> Result<Owned, StateError> {
        let mut owned = self.owned(tx, &ticket.namespace).await?;
        if !self.vouches {
            return Ok(owned);
        }
        for member in ticket.players() {
            let (namespace, queue) = (&ticket.namespace, &ticket.queue);
            for older in tickets::of_player(tx, namespace, queue, &member.player, MAX_LOOKED_AT).await? {
                if owned.tickets.iter().all(|known| known.typed_id() != older) {
                    owned.tickets.extend(tickets::load(tx, older).await?);
                }
            }
        }
        Ok(owned)
    }
}

/// Why what a key made is not told.
#[derive(Debug)]
pub(crate) enum Made {
    /// Another request made it, with this key.
    Otherwise(String),
    /// The store or a record in it failed.
    State(StateError),
}

impl From<StateError> for Made {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// What whoever asks may dispose of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    /// The seats of everyone they name.
    pub(crate) vouched: bool,
    /// These tickets, and the seats that these hold.
    pub(crate) tickets: Vec<TicketRecord>,
}

impl Owned {
    /// Whether a seat is among it, if its player is one of those named.
    pub(crate) fn covers(&self, seat: &MatchSeat) -> bool {
        let by_token = || self.tickets.iter().any(|ticket| seat.ticket.is_some() && ticket.id == seat.ticket);
        self.vouched || by_token()
    }
}

#[cfg(test)]
impl Asker {
    /// A game client whose ticket has a secret of this hash, and which shows tickets of such hashes.
    pub(crate) fn client(secret: u8, shown: &[(TicketId, u8)]) -> Self {
        let hash = |secret| [secret; 32];
        let shown = shown.iter().map(|(id, secret)| ShownTicket { id: *id, secret_sha256: hash(*secret) });
        Self { token_sha256: hash(secret).to_vec(), shown: shown.collect(), ..Self::default() }
    }

    /// One whose request has this hash.
    pub(crate) fn of_request(hash: u8) -> Self {
        Self { request_sha256: vec![hash; 32], ..Self::default() }
    }

    /// A studio's backend.
    pub(crate) fn backend() -> Self {
        Self { vouches: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_theirs_by_the_ticket_that_holds_it_or_by_a_word() {
        let ticket = TicketRecord { id: Some(TicketId::new().into()), ..TicketRecord::default() };
        let of = |ticket| MatchSeat { ticket, player: "ann".into(), ..MatchSeat::default() };
        let owned = Owned { vouched: false, tickets: vec![ticket.clone()] };
        assert!(owned.covers(&of(ticket.id)));
        assert!(!owned.covers(&of(Some(TicketId::new().into()))), "the same name is no proof");
        assert!(!owned.covers(&of(None)), "nobody has a ticket for it");
        assert!(!Owned::default().covers(&of(ticket.id)));
        assert!(Owned { vouched: true, tickets: Vec::new() }.covers(&of(None)));
    }
}
