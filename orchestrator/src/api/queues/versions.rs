//! `GET /v1/queues/{name}/versions`: what a queue was defined as before.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Page, QueueVersion};

use super::unknown;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::state::{StateError, queue_versions, queues};

/// List a queue's versions
///
/// The newest first, which is the one it has; the last 20 are kept. To go back to one, apply its `spec` again.
#[utoipa::path(get, path = "/v1/queues/{name}/versions", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")),
    responses((status = 200, body = Page<QueueVersion>)))]
pub(super) async fn list_versions(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Page<QueueVersion>>> {
    let namespace = &scope.namespace;
    app.db
        .read("list queue versions", async |mut tx| {
            let Some(queue) = queues::peek(&mut tx, namespace, &name).await? else {
                return Err(unknown(&name));
            };
            let kept = queue_versions::list(&mut tx, namespace, &name).await?;
            let items: Result<Vec<QueueVersion>, StateError> =
                kept.iter().map(|version| view::queue_version(&queue.name, version)).collect();
            Ok(Json(Page { items: items?, next: None }))
        })
        .await
}
