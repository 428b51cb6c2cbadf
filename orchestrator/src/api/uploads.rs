//! `/v1/uploads`: archives on their way in, in chunks, resumable.
//!
//! An upload is announced with digest and size, filled in order, and becomes a build by `POST /v1/builds`.
//! Its record is in the store, its bytes are files; what is acknowledged is on disk.

mod append;
mod create;
mod show;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use muster_protocol::api::MAX_CHUNK_BYTES;
use muster_protocol::id::UploadId;
use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::blobs::{Blobs, Digest};
use crate::records::UploadRecord;
use crate::state;

/// Most uploads of an installation at a time.
pub(crate) const MAX_UPLOADS: usize = 1_000;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    let chunks = OpenApiRouter::new()
        .routes(routes!(append::append_upload, show::show_upload))
        .layer(DefaultBodyLimit::max(MAX_CHUNK_BYTES));
    OpenApiRouter::new().routes(routes!(create::create_upload)).merge(chunks)
}

/// The upload of that id in the namespace.
async fn find(app: &App, namespace: &str, id: UploadId) -> ApiResult<UploadRecord> {
    let record =
        app.db.read("find upload", async |mut tx| state::builds::load_upload(&mut tx, id).await).await?;
    record.filter(|record| record.namespace == namespace).ok_or_else(|| {
        ApiProblem::new(
            ProblemCode::UploadUnknown,
            format!("there is no upload {id}, or it has become a build or expired"),
            "begin again with `muster build push`",
        )
    })
}

/// Bytes held of an upload: all of them once its archive is in place.
async fn received(blobs: &Blobs, record: &UploadRecord) -> ApiResult<u64> {
    let digest: Digest =
        record.digest.parse().map_err(|_| ApiProblem::internal("an upload's record has no digest"))?;
    if blobs.size(&digest).await? == Some(record.size_bytes) {
        return Ok(record.size_bytes);
    }
    Ok(blobs.upload_received(record.typed_id()).await?)
}
