//! `GET /healthz`: whether the orchestrator answers and its store can be read.

use std::sync::Arc;

use axum::extract::State;
use muster_store::StoreError;

use crate::api::problem::ApiResult;
use crate::app::App;
use crate::keyspace;

/// Whether the orchestrator works
///
/// Needs no token. For load balancers and service managers.
#[utoipa::path(get, path = "/healthz", tag = "installation", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn health(State(app): State<Arc<App>>) -> ApiResult<&'static str> {
    app.db
        .read("health", async |mut tx| {
            tx.snapshot_get(&keyspace::authority()).await?;
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok("ok\n")
}
