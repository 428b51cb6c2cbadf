//! `GET /v1/uploads/{id}`: where an upload stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Upload;
use muster_protocol::id::UploadMark;

use super::{find, received};
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiId;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;

/// Where an upload stands
#[utoipa::path(get, path = "/v1/uploads/{id}", tag = "builds",
    params(NamespaceParam, ("id" = String, Path, description = "Upload")),
    responses((status = 200, body = Upload)))]
pub(super) async fn show_upload(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiId(id): ApiId<UploadMark>,
) -> ApiResult<Json<Upload>> {
    let record = find(&app, &scope.namespace, id).await?;
    let received = received(&app.blobs, &record).await?;
    Ok(Json(view::upload(&record, received)))
}
