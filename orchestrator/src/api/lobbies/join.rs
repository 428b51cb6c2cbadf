//! `POST /v1/lobbies/{lobby}/join`: joins a lobby by its code or id.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::{JoinRequest, Ticket};

use super::{key, seated};
use crate::api::asking::Asking;
use crate::api::auth::{Client, Scope};
use crate::api::extract::{ApiJson, ApiPath};
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, validate};
use crate::app::App;
use crate::{clock, lobbies};

/// Join a lobby
///
/// Public or private. Players who have seats in it already, and show it, get them again, with a new ticket.
#[utoipa::path(post, path = "/v1/lobbies/{lobby}/join", tag = "lobbies",
    params(NamespaceParam, ("lobby" = String, Path, description = "Code or id")),
    request_body = JoinRequest, responses((status = 200, body = Ticket)))]
pub(super) async fn join_lobby(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiPath(lobby): ApiPath<String>,
    ApiJson(request): ApiJson<JoinRequest>,
) -> ApiResult<Json<Ticket>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    let key = key(&lobby)?;
    validate::join_request(&request)?;
    let Asking { asker, secret } = Asking::new(&app, &scope, &format!("join lobby {key}"), &request);
    let namespace = &scope.namespace;
    let joined = lobbies::join(&app.db, namespace, &key, &request, &asker, clock::now_ms()).await;
    seated(&app, namespace, &secret, joined).await
}
