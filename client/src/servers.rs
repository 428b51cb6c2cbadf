//! Servers: list, show, join, stop, logs.

use std::time::Duration;

use muster_protocol::api::{JoinRequest, LogsQuery, Page, Server, ServerState, Ticket};
use muster_protocol::id::ServerId;
use reqwest::Method;
use serde::Serialize;

use crate::{ByteStream, Client, ClientError};

/// Longest a log is followed on one connection. A log that is followed for longer is opened again.
const LOG_TIMEOUT: Duration = Duration::from_hours(24);

/// Which servers to list; what is left out does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServerFilter {
    /// Of this fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// In this region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ServerState>,
    /// From after this one on: the previous page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Client {
    /// Servers of the namespace.
    pub async fn servers(&self, filter: &ServerFilter) -> Result<Page<Server>, ClientError> {
        self.call(Method::GET, &["servers"]).query(filter).read().await
    }

    /// A server.
    pub async fn server(&self, id: &ServerId) -> Result<Server, ClientError> {
        self.call(Method::GET, &["servers", &id.to_string()]).read().await
    }

    /// Stops a server: told to drain if players may be on it, at once if `force`.
    pub async fn stop_server(&self, id: &ServerId, force: bool) -> Result<Server, ClientError> {
        self.call(Method::POST, &["servers", &id.to_string(), "stop"]).query(&[("force", force)]).read().await
    }

    /// Joins a server, of a fleet that says `direct_connect`: a ticket that is assigned.
    pub async fn join_server(&self, id: &ServerId, request: &JoinRequest) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["servers", &id.to_string(), "join"]).json(request).read().await
    }

    /// A server's output; ends with the log, or never while `query.follow` and the server runs.
    pub async fn logs(&self, id: &ServerId, query: &LogsQuery) -> Result<ByteStream, ClientError> {
        let call = self.call(Method::GET, &["servers", &id.to_string(), "logs"]).query(query);
        call.timeout(LOG_TIMEOUT).stream().await
    }
}
