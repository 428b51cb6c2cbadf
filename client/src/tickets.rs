//! Tickets: asking for a match, and waiting for it.

use std::time::Duration;

use muster_protocol::api::{MAX_WAIT_S, Ticket, TicketExplanation, TicketQuery, TicketRequest, TicketState};
use muster_protocol::id::TicketId;
use reqwest::Method;

use crate::http::CALL_TIMEOUT;
use crate::{Client, ClientError};

impl Client {
    /// Asks for a match.
    pub async fn create_ticket(&self, request: &TicketRequest) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["tickets"]).json(request).read().await
    }

    /// A ticket as it is now.
    pub async fn ticket(&self, id: &TicketId) -> Result<Ticket, ClientError> {
        self.call(Method::GET, &["tickets", &id.to_string()]).read().await
    }

    /// A ticket once its state is another than `state`, or as it is after `wait_s` seconds, which are
    /// at most `MAX_WAIT_S`: a long poll.
    pub async fn wait_ticket(
        &self,
        id: &TicketId,
        state: TicketState,
        wait_s: u32,
    ) -> Result<Ticket, ClientError> {
        let query = TicketQuery { state: Some(state), wait_s: wait_s.min(MAX_WAIT_S) };
        self.call(Method::GET, &["tickets", &id.to_string()])
            .query(&query)
            .timeout(CALL_TIMEOUT + Duration::from_secs(u64::from(query.wait_s)))
            .read()
            .await
    }

    /// Why a ticket is where it is.
    pub async fn explain_ticket(&self, id: &TicketId) -> Result<TicketExplanation, ClientError> {
        self.call(Method::GET, &["tickets", &id.to_string(), "explain"]).read().await
    }

    /// Accepts the match that was found for a ticket.
    pub async fn accept_ticket(&self, id: &TicketId) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["tickets", &id.to_string(), "accept"]).read().await
    }

    /// Declines the match that was found for a ticket, which is cancelled.
    pub async fn decline_ticket(&self, id: &TicketId) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["tickets", &id.to_string(), "decline"]).read().await
    }

    /// Withdraws a ticket.
    pub async fn cancel_ticket(&self, id: &TicketId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["tickets", &id.to_string()]).done().await
    }
}
