//! `GET /v1/builds/{build}`: one build, by digest or tag.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Build;

use super::unknown;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::state;

/// Show a build
#[utoipa::path(get, path = "/v1/builds/{build}", tag = "builds",
    params(NamespaceParam, ("build" = String, Path, description = "Digest or tag")),
    responses((status = 200, body = Build)))]
pub(super) async fn show_build(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Build>> {
    let record = app
        .db
        .read("show build", async |mut tx| state::builds::resolve(&mut tx, &scope.namespace, &name).await)
        .await?;
    record.map(|record| Json(view::build(record))).ok_or_else(|| unknown(&name))
}
