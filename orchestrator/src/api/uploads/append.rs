//! `PUT /v1/uploads/{id}?offset=`: one chunk.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{MAX_CHUNK_BYTES, Upload};
use muster_protocol::id::UploadMark;
use serde::Deserialize;

use super::find;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiBytes, ApiId, ApiQuery};
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;

/// Query of a chunk.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkQuery {
    /// Where the chunk begins in the archive: `received_bytes` of the upload.
    offset: u64,
}

/// Send a chunk
///
/// The body is the chunk's bytes, at most 8 MiB. They are on disk once this is answered; a chunk that is
/// held already changes nothing.
#[utoipa::path(put, path = "/v1/uploads/{id}", tag = "builds",
    params(NamespaceParam, ChunkQuery, ("id" = String, Path, description = "Upload")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Upload)))]
pub(super) async fn append_upload(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiId(id): ApiId<UploadMark>,
    ApiQuery(query): ApiQuery<ChunkQuery>,
    ApiBytes(chunk): ApiBytes<MAX_CHUNK_BYTES>,
) -> ApiResult<Json<Upload>> {
    let record = find(&app, &scope.namespace, id).await?;
    let received = app.blobs.upload_append(id, record.size_bytes, query.offset, chunk).await?;
    Ok(Json(view::upload(&record, received)))
}
