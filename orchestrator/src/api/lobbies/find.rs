//! `POST /v1/lobbies/find`: joins the fullest lobby that fits.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::{FindLobbyRequest, Ticket};

use super::seated;
use crate::api::asking::Asking;
use crate::api::auth::{Client, Scope};
use crate::api::extract::ApiJson;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, validate};
use crate::app::App;
use crate::{clock, lobbies};

/// Join the fullest lobby that fits
///
/// Of the public lobbies with room for all who come, with the tags and within the latency asked for. With `create`, one is
/// made if there is none.
#[utoipa::path(post, path = "/v1/lobbies/find", tag = "lobbies", params(NamespaceParam),
    request_body = FindLobbyRequest, responses((status = 200, body = Ticket)))]
pub(super) async fn find_lobby(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiJson(request): ApiJson<FindLobbyRequest>,
) -> ApiResult<Json<Ticket>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    validate::find_lobby_request(&request)?;
    let Asking { asker, secret } = Asking::new(&app, &scope, "find a lobby", &request);
    let namespace = &scope.namespace;
    let found = lobbies::find(&app.db, namespace, &request, &asker, clock::now_ms()).await;
    seated(&app, namespace, &secret, found).await
}
