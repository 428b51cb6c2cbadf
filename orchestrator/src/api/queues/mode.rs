//! `POST /v1/queues/{name}/{pause,resume,drain}`: whether a queue takes tickets and makes matches.

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
use crate::records::QueueMode;
use crate::state;

/// Pause a queue
///
/// It goes on taking tickets, and makes no matches until it is resumed. Tickets still expire.
#[utoipa::path(post, path = "/v1/queues/{name}/pause", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")), responses((status = 200, body = Queue)))]
pub(super) async fn pause_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Queue>> {
    set(&app, &scope, &name, QueueMode::Paused).await
}

/// Drain a queue
///
/// It takes no tickets, and makes matches of those it has until it is resumed.
#[utoipa::path(post, path = "/v1/queues/{name}/drain", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")), responses((status = 200, body = Queue)))]
pub(super) async fn drain_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Queue>> {
    set(&app, &scope, &name, QueueMode::Draining).await
}

/// Resume a queue
///
/// It takes tickets and makes matches.
#[utoipa::path(post, path = "/v1/queues/{name}/resume", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")), responses((status = 200, body = Queue)))]
pub(super) async fn resume_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Queue>> {
    set(&app, &scope, &name, QueueMode::Open).await
}

async fn set(app: &App, scope: &Scope<Deploy>, name: &str, mode: QueueMode) -> ApiResult<Json<Queue>> {
    let namespace = &scope.namespace;
    let queue = app
        .db
        .run("queue_mode", async |mut tx| {
            let record = state::queues::set_mode(&mut tx, namespace, name, mode).await?;
            let record = record.ok_or_else(|| unknown(name))?;
            Ok::<_, crate::api::problem::ApiProblem>(standing(&mut tx, &record).await?)
        })
        .await?;
    tracing::info!(namespace, queue = name, mode = queue.mode.as_str(), "queue mode set");
    Ok(Json(queue))
}
