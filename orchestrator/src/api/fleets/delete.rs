//! `DELETE /v1/fleets/{name}`: lets a fleet go, its servers drained.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use muster_protocol::problem::ProblemCode;

use super::unknown;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::{clock, state};

/// Delete a fleet
///
/// Unclaimed servers are stopped and claimed ones drained; the fleet is gone once they are. A fleet that
/// a queue fills is not deleted.
#[utoipa::path(delete, path = "/v1/fleets/{name}", tag = "fleets",
    params(NamespaceParam, ("name" = String, Path, description = "Fleet")), responses((status = 204)))]
pub(super) async fn delete_fleet(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<StatusCode> {
    let now_ms = clock::now_ms();
    let namespace = scope.namespace;
    app.db
        .run("delete fleet", async |mut tx| {
            let queues = state::queues::list(&mut tx, &namespace).await?;
            if let Some(queue) = queues.iter().find(|queue| queue.fleet == name) {
                return Err(ApiProblem::new(
                    ProblemCode::FleetInUse,
                    format!("the queue {:?} fills the fleet {name:?}", queue.name),
                    format!(
                        "delete the queue first (`muster queue rm {}`), or give it another fleet",
                        queue.name
                    ),
                ));
            }
            if !state::fleets::delete(&mut tx, &namespace, &name, now_ms).await? {
                return Err(unknown(&name));
            }
            Ok(())
        })
        .await?;
    tracing::info!(namespace, fleet = name, "fleet deleted");
    Ok(StatusCode::NO_CONTENT)
}
