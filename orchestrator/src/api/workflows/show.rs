//! `GET /v1/workflows/{kind}/{key}`: a workflow and what it did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_engine::inspect;
use muster_protocol::api::WorkflowDetail;

use super::{address, known};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::view;
use crate::app::App;
use crate::clock;

/// Show a workflow
#[utoipa::path(get, path = "/v1/workflows/{kind}/{key}", tag = "workflows",
    params(NamespaceParam, ("kind" = String, Path, description = "Kind"), ("key" = String, Path, description = "Key")),
    responses((status = 200, body = WorkflowDetail)))]
pub(super) async fn show_workflow(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath((kind, key)): ApiPath<(String, String)>,
) -> ApiResult<Json<WorkflowDetail>> {
    let address = address(&scope.namespace, &kind, &key)?;
    let found = app
        .db
        .read("show workflow", async |mut tx| known(inspect::show(&mut tx, &address).await?, &address))
        .await?;
    let steps = inspect::journal(&app.db, &address).await.map_err(ApiProblem::from)?;
    Ok(Json(view::workflow_detail(&found, steps, clock::now_ms())))
}
