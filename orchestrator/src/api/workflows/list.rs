//! `GET /v1/workflows`: the namespace's workflows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_engine::inspect;
use muster_protocol::api::{Page, Workflow, WorkflowStatus};
use serde::Deserialize;

use super::address;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::view;
use crate::app::App;
use crate::clock;

/// Query of the workflows' list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowsQuery {
    /// Of this kind.
    kind: Option<String>,
    /// That stand so.
    status: Option<WorkflowStatus>,
    /// `next` of the page before.
    after: Option<String>,
    /// Most rows, 1 to 1,000; 100 if not given.
    limit: Option<usize>,
}

/// List workflows
///
/// In no order that means anything. A namespace with very many is read in whole for a filter by status.
#[utoipa::path(get, path = "/v1/workflows", tag = "workflows", params(NamespaceParam, WorkflowsQuery),
    responses((status = 200, body = Page<Workflow>)))]
pub(super) async fn list_workflows(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiQuery(query): ApiQuery<WorkflowsQuery>,
) -> ApiResult<Json<Page<Workflow>>> {
    let limit = PageQuery { after: None, limit: query.limit }.limit()?;
    let after = match &query.after {
        None => None,
        Some(after) => {
            let (kind, key) = after.split_once('/').ok_or_else(|| {
                ApiProblem::invalid_request(
                    format!("{after:?} is no `after`"),
                    "take it from the page before",
                )
            })?;
            Some(address(&scope.namespace, kind, key)?)
        }
    };
    let filter = inspect::Filter { kind: query.kind, status: query.status.map(view::engine_status) };
    let (found, next) = inspect::list(&app.db, &scope.namespace, &filter, after.as_ref(), limit).await?;
    let now_ms = clock::now_ms();
    Ok(Json(Page {
        items: found.iter().map(|found| view::workflow(found, now_ms)).collect(),
        next: next.map(|next| format!("{}/{}", next.kind(), next.key())),
    }))
}
