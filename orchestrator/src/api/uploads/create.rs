//! `POST /v1/uploads`: begins an upload, or finds the one of that digest.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Upload, UploadRequest};
use muster_protocol::id::UploadId;
use muster_protocol::problem::ProblemCode;

use super::{MAX_UPLOADS, received};
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiJson;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, validate, view};
use crate::app::App;
use crate::records::UploadRecord;
use crate::{clock, state};

/// Seconds after which to ask again where too many uploads are under way.
const RETRY_S: u32 = 60;

/// Begin an upload
///
/// Answers the upload of this digest that is under way or complete, if there is one. An archive that any
/// namespace has pushed is complete at once: who knows the digest of an archive counts as having it.
#[utoipa::path(post, path = "/v1/uploads", tag = "builds", params(NamespaceParam),
    request_body = UploadRequest, responses((status = 200, body = Upload)))]
pub(super) async fn create_upload(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiJson(request): ApiJson<UploadRequest>,
) -> ApiResult<Json<Upload>> {
    validate::upload_request(&request)?;
    let fresh = UploadRecord {
        id: Some(UploadId::new().into()),
        namespace: scope.namespace,
        digest: request.digest,
        size_bytes: request.size_bytes,
        created_at_ms: clock::now_ms(),
        complete: false,
    };
    let record = app
        .db
        .run("create upload", async |mut tx| {
            let uploads = state::builds::list_uploads(&mut tx, MAX_UPLOADS).await?;
            let count = uploads.len();
            let same = uploads.into_iter().find(|other| is_same(other, &fresh));
            if let Some(same) = same {
                return Ok(same);
            }
            if count >= MAX_UPLOADS {
                return Err(too_many());
            }
            state::builds::save_upload(&mut tx, &fresh);
            Ok(fresh.clone())
        })
        .await?;
    let received = received(&app.blobs, &record).await?;
    Ok(Json(view::upload(&record, received)))
}

fn is_same(one: &UploadRecord, other: &UploadRecord) -> bool {
    one.namespace == other.namespace && one.digest == other.digest && one.size_bytes == other.size_bytes
}

fn too_many() -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooMany,
        format!("{MAX_UPLOADS} uploads are under way already"),
        "finish some (`muster build push` resumes), or wait until old ones expire",
    )
    .retry_after(RETRY_S)
}
