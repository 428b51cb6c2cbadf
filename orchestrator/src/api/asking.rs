//! A request for a seat on its way in: who asks, and the secret of the ticket that they get. Whether it is taken is decided
//! further in.

use muster_protocol::api::Role;

use super::auth::Caller;
use super::credentials::{TicketSecret, shown_ticket};
use crate::asker::Asker;

/// A request for a seat.
pub(crate) struct Asking {
    /// Who asks.
    pub(crate) asker: Asker,
    /// Of the own token of the ticket that they get.
    pub(crate) secret: TicketSecret,
}

impl Asking {
    /// One of `caller`, who shows the tokens of older tickets, which were checked before. A token that may be shipped with a
    /// game says nothing of who its players are; any other is a backend's, which knows.
    pub(crate) fn new(caller: &Caller, previous_tokens: &[String]) -> Self {
        let secret = TicketSecret::new();
        let asker = Asker {
            token_sha256: secret.sha256().to_vec(),
            vouches: caller.role != Role::Client,
            shown: previous_tokens.iter().filter_map(|text| shown_ticket(text)).collect(),
        };
        Self { asker, secret }
    }
}
