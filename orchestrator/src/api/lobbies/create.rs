//! `POST /v1/lobbies`: makes a lobby.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::{LobbyRequest, Ticket};

use super::seated;
use crate::api::asking::Asking;
use crate::api::auth::{Client, Scope};
use crate::api::extract::ApiJson;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, validate};
use crate::app::App;
use crate::{clock, lobbies};

/// Make a lobby
///
/// The answer is the ticket of who makes it, with the lobby's code. If no server is warm, the lobby waits for one like any
/// match; others can join it meanwhile. Leaving is withdrawing the ticket.
#[utoipa::path(post, path = "/v1/lobbies", tag = "lobbies", params(NamespaceParam),
    request_body = LobbyRequest, responses((status = 200, body = Ticket)))]
pub(super) async fn create_lobby(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiJson(request): ApiJson<LobbyRequest>,
) -> ApiResult<Json<Ticket>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    validate::lobby_request(&request)?;
    let Asking { asker, secret } = Asking::new(&app, &scope, "make a lobby", &request);
    let namespace = &scope.namespace;
    let made = lobbies::create(&app.db, namespace, &request, &asker, clock::now_ms()).await;
    seated(&app, namespace, &secret, made).await
}
