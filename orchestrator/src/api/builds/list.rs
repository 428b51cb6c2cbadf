//! `GET /v1/builds`: the namespace's builds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Build, Page};

use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::{PageQuery, cut, page};
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::state;

/// List builds, by digest
#[utoipa::path(get, path = "/v1/builds", tag = "builds", params(NamespaceParam, PageQuery),
    responses((status = 200, body = Page<Build>)))]
pub(super) async fn list_builds(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Build>>> {
    let limit = query.limit()?;
    let rows = app
        .db
        .read("list builds", async |mut tx| {
            state::builds::list(&mut tx, &scope.namespace, query.after.as_deref(), limit + 1).await
        })
        .await?;
    Ok(Json(page(cut(rows, limit, |build| build.digest.clone()), view::build)))
}
