//! `POST /v1/servers/{id}/join`: joins a server by its id.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::{JoinRequest, Ticket};
use muster_protocol::id::ServerMark;

use crate::api::asking::Asking;
use crate::api::auth::{Client, Scope};
use crate::api::extract::{ApiId, ApiJson};
use crate::api::lobbies::seated_on_server;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, validate};
use crate::app::App;
use crate::{clock, lobbies};

/// Join a server
///
/// In a fleet with `direct_connect`: a ready server is claimed, of a running one free seats are taken, if no queue made its
/// match. Players who have seats there already, and show it, get them again, with a new ticket.
#[utoipa::path(post, path = "/v1/servers/{id}/join", tag = "servers",
    params(NamespaceParam, ("id" = String, Path, description = "Server")),
    request_body = JoinRequest, responses((status = 200, body = Ticket)))]
pub(super) async fn join_server(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiId(id): ApiId<ServerMark>,
    ApiJson(request): ApiJson<JoinRequest>,
) -> ApiResult<Json<Ticket>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    validate::join_request(&request)?;
    let Asking { asker, secret } = Asking::new(&app, &scope, &format!("join server {id}"), &request);
    let namespace = &scope.namespace;
    let joined = lobbies::join_server(&app.db, namespace, id, &request, &asker, clock::now_ms()).await;
    seated_on_server(&app, namespace, &secret, joined).await
}
