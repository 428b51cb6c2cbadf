//! `GET /v1/queues/{name}`: a queue and how it stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Queue;

use super::{standing, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::state;

/// Show a queue
#[utoipa::path(get, path = "/v1/queues/{name}", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")),
    responses((status = 200, body = Queue)))]
pub(super) async fn show_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Queue>> {
    app.db
        .read("show queue", async |mut tx| {
            let record = state::queues::load(&mut tx, &scope.namespace, &name).await?;
            let record = record.ok_or_else(|| unknown(&name))?;
            Ok(Json(standing(&mut tx, &record).await?))
        })
        .await
}
