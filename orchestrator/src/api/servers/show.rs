//! `GET /v1/servers/{id}`: one server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Server;
use muster_protocol::id::ServerMark;

use super::{find, standing};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiId;
use crate::api::problem::ApiResult;
use crate::app::App;

/// Show a server
#[utoipa::path(get, path = "/v1/servers/{id}", tag = "servers",
    params(NamespaceParam, ("id" = String, Path, description = "Server")),
    responses((status = 200, body = Server)))]
pub(super) async fn show_server(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiId(id): ApiId<ServerMark>,
) -> ApiResult<Json<Server>> {
    app.db
        .read("show server", async |mut tx| {
            let record = find(&mut tx, &scope.namespace, id).await?;
            Ok(Json(standing(&mut tx, record).await?))
        })
        .await
}
