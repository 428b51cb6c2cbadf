//! `POST /v1/servers/{id}/stop`: ends a server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Server;
use muster_protocol::id::ServerMark;
use serde::Deserialize;

use super::{standing, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiId, ApiQuery};
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::{clock, lifecycle};

/// Stable code of why a server ends that was stopped through the API.
const REASON: &str = "stopped_by_request";

/// Query of a stop.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StopQuery {
    /// Stop at once, players or not.
    #[serde(default)]
    force: bool,
}

/// Stop a server
///
/// A claimed server is told to finish and stopped when its drain time is over; with `force`, and if
/// nobody has claimed it, it is stopped at once. Its fleet starts another if it needs one.
#[utoipa::path(post, path = "/v1/servers/{id}/stop", tag = "servers",
    params(NamespaceParam, StopQuery, ("id" = String, Path, description = "Server")),
    responses((status = 200, body = Server)))]
pub(super) async fn stop_server(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiId(id): ApiId<ServerMark>,
    ApiQuery(query): ApiQuery<StopQuery>,
) -> ApiResult<Json<Server>> {
    let now_ms = clock::now_ms();
    let stopped = lifecycle::stop_server(&app.db, &scope.namespace, id, REASON, query.force, now_ms).await?;
    let record = stopped.ok_or_else(|| unknown(id))?;
    tracing::info!(namespace = scope.namespace, server = %id, force = query.force, "server stopped by request");
    app.db.read("show server", async |mut tx| Ok(Json(standing(&mut tx, record.clone()).await?))).await
}
