//! `GET /v1/builds/{build}/archive`: the bytes of a pushed build.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use muster_protocol::problem::ProblemCode;
use tokio_util::io::ReaderStream;

use super::unknown;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::blobs::Digest;
use crate::{replicas, state};

/// Bytes read from disk at a time.
const READ_BYTES: usize = 256 * 1024;

/// The archive of a build
///
/// As it was pushed. A build that is a registry's reference has none.
#[utoipa::path(get, path = "/v1/builds/{build}/archive", tag = "builds",
    params(NamespaceParam, ("build" = String, Path, description = "Digest or tag")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn build_archive(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Response> {
    let record = app
        .db
        .read("build archive", async |mut tx| state::builds::resolve(&mut tx, &scope.namespace, &name).await)
        .await?
        .ok_or_else(|| unknown(&name))?;
    let nowhere = |detail: String| {
        ApiProblem::new(ProblemCode::BuildUnknown, detail, "push the image again with `muster build push`")
    };
    if !record.reference.is_empty() {
        return Err(nowhere(format!("{name} is {}, which agents pull themselves", record.reference)));
    }
    let digest: Digest =
        record.digest.parse().map_err(|_| ApiProblem::internal("a build's record has no digest"))?;
    if app.blobs.size(&digest).await?.is_none() {
        replicas::fetch(&app, &digest).await?;
    }
    let blob = app.blobs.read_from(&digest, 0).await?;
    let blob = blob.ok_or_else(|| nowhere(format!("no orchestrator holds the archive of {name}")))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, blob.size_bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(blob.file, READ_BYTES))).into_response())
}
