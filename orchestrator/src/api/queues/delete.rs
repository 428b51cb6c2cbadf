//! `DELETE /v1/queues/{name}`: removes a queue.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::unknown;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::state;

/// Delete a queue
///
/// Players who are matched keep their match; those who still search find none any more.
#[utoipa::path(delete, path = "/v1/queues/{name}", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")), responses((status = 204)))]
pub(super) async fn delete_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<StatusCode> {
    let namespace = scope.namespace;
    app.db
        .run("delete queue", async |mut tx| {
            if state::queues::delete(&mut tx, &namespace, &name).await? {
                Ok(())
            } else {
                Err(unknown(&name))
            }
        })
        .await?;
    tracing::info!(namespace, queue = name, "queue deleted");
    Ok(StatusCode::NO_CONTENT)
}
