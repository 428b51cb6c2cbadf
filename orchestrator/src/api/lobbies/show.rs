//! `GET /v1/lobbies/{lobby}`: a lobby by its code or id.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::Lobby;

use super::{key, unknown};
use crate::api::auth::{Client, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::lobbies;

/// Show a lobby
///
/// Public or private. It counts as a ticket against the limits on clients, so that codes are not guessed.
#[utoipa::path(get, path = "/v1/lobbies/{lobby}", tag = "lobbies",
    params(NamespaceParam, ("lobby" = String, Path, description = "Code or id")),
    responses((status = 200, body = Lobby)))]
pub(super) async fn show_lobby(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiPath(lobby): ApiPath<String>,
) -> ApiResult<Json<Lobby>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    let key = key(&lobby)?;
    let found = lobbies::get(&app.db, &scope.namespace, &key).await?;
    found.and_then(view::lobby).map(Json).ok_or_else(|| unknown(&key))
}
