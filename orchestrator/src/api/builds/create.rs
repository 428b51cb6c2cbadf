//! `POST /v1/builds`: registers an uploaded archive or a registry reference, and sets tags.
//!
//! An archive is verified, looked into and put in its place before the store hears of it. Each step may
//! be repeated, so a request that was cut off is sent again and goes on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Build, BuildRequest};
use muster_protocol::problem::ProblemCode;
use muster_store::Transaction;

use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiJson;
use crate::api::image::{self, Image, ImageError};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::uploads::MAX_UPLOADS;
use crate::api::validate::{self, BuildSource};
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::blobs::Digest;
use crate::records::{BuildRecord, UploadRecord};
use crate::{clock, state};

/// Register a build
///
/// With `digest`: a complete upload, which must be an image as `docker save` writes it. With `reference`:
/// an image that agents pull themselves. A build that is there already gets the tags.
#[utoipa::path(post, path = "/v1/builds", tag = "builds", params(NamespaceParam),
    request_body = BuildRequest, responses((status = 200, body = Build)))]
pub(super) async fn create_build(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiJson(request): ApiJson<BuildRequest>,
) -> ApiResult<Json<Build>> {
    let namespace = scope.namespace;
    let record = match validate::build_request(&request)? {
        BuildSource::Archive(digest) => archive(&app, &namespace, digest).await?,
        BuildSource::Reference(reference) => BuildRecord {
            namespace,
            digest: Digest::of(reference.as_bytes()).to_string(),
            reference: reference.to_owned(),
            created_at_ms: clock::now_ms(),
            ..BuildRecord::default()
        },
    };
    let record =
        app.db.run("create build", async |mut tx| register(&mut tx, &record, &request.tags).await).await?;
    Ok(Json(view::build(record)))
}

/// Writes the build unless it is there, its tags, and clears the uploads that made it.
async fn register(tx: &mut Transaction, fresh: &BuildRecord, tags: &[String]) -> ApiResult<BuildRecord> {
    let mut record = match state::builds::load(tx, &fresh.namespace, &fresh.digest).await? {
        Some(before) => before,
        None => fresh.clone(),
    };
    state::builds::save(tx, &record);
    for tag in tags {
        state::builds::set_tag(tx, &mut record, tag).await?;
    }
    if record.tags.len() > state::builds::MAX_TAGS {
        return Err(ApiProblem::new(
            ProblemCode::TooMany,
            format!("the build would have {} tags, over {}", record.tags.len(), state::builds::MAX_TAGS),
            "move some of its tags to another build first",
        ));
    }
    for upload in state::builds::list_uploads(tx, MAX_UPLOADS).await? {
        if upload.namespace == record.namespace && upload.digest == record.digest {
            state::builds::remove_upload(tx, &upload);
        }
    }
    Ok(record)
}

/// The record of the archive of `digest`, once it is known to be an image in its place.
async fn archive(app: &App, namespace: &str, digest: &str) -> ApiResult<BuildRecord> {
    let parsed: Digest =
        digest.parse().map_err(|_| ApiProblem::internal("a checked digest does not parse"))?;
    if app.blobs.size(&parsed).await?.is_none() {
        let upload = uploaded(app, namespace, digest).await?;
        app.blobs.upload_finish(upload.typed_id(), upload.size_bytes, parsed).await?;
    }
    let size_bytes = app
        .blobs
        .size(&parsed)
        .await?
        .ok_or_else(|| ApiProblem::internal("the archive went away while it was looked into"))?;
    let image = match look_into(app, &parsed).await {
        Ok(image) => image,
        Err(problem) => {
            // Whoever pushes these bytes gets the same answer, so no build can stand on them.
            if problem.code() == ProblemCode::ImageInvalid {
                app.blobs.remove(&parsed).await?;
            }
            return Err(problem);
        }
    };
    Ok(BuildRecord {
        namespace: namespace.to_owned(),
        digest: digest.to_owned(),
        reference: String::new(),
        size_bytes,
        platform: image.platform,
        created_at_ms: clock::now_ms(),
        tags: Vec::new(),
    })
}

/// The namespace's upload of `digest`; the furthest if several sizes were announced.
async fn uploaded(app: &App, namespace: &str, digest: &str) -> ApiResult<UploadRecord> {
    let uploads = app
        .db
        .read("list uploads", async |mut tx| state::builds::list_uploads(&mut tx, MAX_UPLOADS).await)
        .await?;
    let mut found: Option<(u64, UploadRecord)> = None;
    for upload in uploads {
        if upload.namespace == namespace && upload.digest == digest {
            let received = app.blobs.upload_received(upload.typed_id()).await?;
            if found.as_ref().is_none_or(|(most, _)| received > *most) {
                found = Some((received, upload));
            }
        }
    }
    let (_, upload) = found.ok_or_else(|| {
        ApiProblem::new(
            ProblemCode::UploadUnknown,
            format!("nothing of {digest} has been uploaded"),
            "push the archive with `muster build push`",
        )
    })?;
    Ok(upload)
}

async fn look_into(app: &App, digest: &Digest) -> ApiResult<Image> {
    let path = app.blobs.path(digest);
    let looked = tokio::task::spawn_blocking(move || image::inspect(std::fs::File::open(path)?)).await;
    match looked {
        Ok(Ok(image)) => Ok(image),
        Ok(Err(ImageError::Invalid { what, fix })) => {
            Err(ApiProblem::new(ProblemCode::ImageInvalid, what, fix))
        }
        Ok(Err(error @ ImageError::Io(_))) => Err(ApiProblem::new(
            ProblemCode::StoreUnavailable,
            error.to_string(),
            "check the orchestrator's disk and its log",
        )),
        Err(_) => Err(ApiProblem::internal("looking into the archive met a fault")),
    }
}
