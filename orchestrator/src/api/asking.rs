//! A request for a seat on its way in: who asks, and the secret of the ticket that they get. Whether it is taken is decided
//! further in.

use muster_protocol::api::{FindLobbyRequest, JoinRequest, LobbyRequest, Role, TicketRequest};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::auth::{Client, Scope};
use super::credentials::{TicketSecret, shown_ticket};
use crate::app::App;
use crate::asker::Asker;

/// What the secrets are of that are made here.
const SECRET_OF_TICKET: &str = "ticket of an idempotent request";

/// A body that asks for a seat.
pub(crate) trait Request: Serialize {
    /// Its idempotency key, and the tokens of older tickets that it shows.
    fn keys(&self) -> (Option<&str>, &[String]);
}

impl Request for TicketRequest {
    fn keys(&self) -> (Option<&str>, &[String]) {
        (self.idempotency_key.as_deref(), &self.previous_tokens)
    }
}

impl Request for LobbyRequest {
    fn keys(&self) -> (Option<&str>, &[String]) {
        (self.idempotency_key.as_deref(), &[])
    }
}

impl Request for FindLobbyRequest {
    fn keys(&self) -> (Option<&str>, &[String]) {
        (self.idempotency_key.as_deref(), &self.previous_tokens)
    }
}

impl Request for JoinRequest {
    fn keys(&self) -> (Option<&str>, &[String]) {
        (self.idempotency_key.as_deref(), &self.previous_tokens)
    }
}

/// A request for a seat.
pub(crate) struct Asking {
    /// Who asks.
    pub(crate) asker: Asker,
    /// Of the own token of the ticket that they get.
    pub(crate) secret: TicketSecret,
}

impl Asking {
    /// One that `scope` is of, to do `what`: `request`, which was checked before.
    ///
    /// A token that may be shipped with a game says nothing of who its players are; any other is a backend's, which knows.
    /// With an idempotency key, the secret follows from the request and from what only the installation knows. So the same
    /// request, whose answer was lost, is told the same token, and what is stored is a hash all the same.
    pub(crate) fn new<B: Request>(app: &App, scope: &Scope<Client>, what: &str, request: &B) -> Self {
        let (idempotency_key, previous_tokens) = request.keys();
        let request_sha256 = idempotency_key.map(|_| {
            let said = (&scope.namespace, scope.caller.token.to_string(), what, request);
            let text = serde_json::to_vec(&said).expect("a request came as JSON, with names for keys");
            Sha256::digest(text).into()
        });
        let secret = match &request_sha256 {
            Some(sha256) => TicketSecret::of(app.authority.secret_of(SECRET_OF_TICKET, sha256)),
            None => TicketSecret::new(),
        };
        let asker = Asker {
            token_sha256: secret.sha256().to_vec(),
            request_sha256: request_sha256.map(|sha256: [u8; 32]| sha256.to_vec()).unwrap_or_default(),
            vouches: scope.caller.role != Role::Client,
            shown: previous_tokens.iter().filter_map(|text| shown_ticket(text)).collect(),
        };
        Self { asker, secret }
    }
}
