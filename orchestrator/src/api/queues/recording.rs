//! `GET` and `DELETE /v1/queues/{name}/recording`: the tickets that a queue has kept to try definitions out against.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_protocol::api::{Page, RecordedTicket};

use super::unknown;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiPath, ApiQuery};
use crate::api::page::{PageQuery, cut};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::state::{queues, recordings};

/// Read a queue's recording
///
/// By the time the tickets came. A queue records while its `recording` is set.
#[utoipa::path(get, path = "/v1/queues/{name}/recording", tag = "queues",
    params(NamespaceParam, PageQuery, ("name" = String, Path, description = "Queue")),
    responses((status = 200, body = Page<RecordedTicket>)))]
pub(super) async fn read_recording(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<RecordedTicket>>> {
    let limit = query.limit()?;
    let after = query.after.as_ref().map(|after| URL_SAFE_NO_PAD.decode(after)).transpose();
    let after = after.map_err(|_| {
        ApiProblem::invalid_request(
            "after: this is no place in a recording",
            "pass `next` of the page before",
        )
    })?;
    let namespace = &scope.namespace;
    let rows = app
        .db
        .read("read recording", async |mut tx| {
            if queues::peek(&mut tx, namespace, &name).await?.is_none() {
                return Err(unknown(&name));
            }
            Ok(recordings::page(&mut tx, namespace, &name, after.as_deref(), limit + 1).await?)
        })
        .await?;
    let (rows, next) = cut(rows, limit, |(key, _)| URL_SAFE_NO_PAD.encode(key));
    Ok(Json(Page { items: rows.into_iter().map(|(_, record)| view::recorded(record)).collect(), next }))
}

/// Clear a queue's recording
#[utoipa::path(delete, path = "/v1/queues/{name}/recording", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")), responses((status = 204)))]
pub(super) async fn clear_recording(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<StatusCode> {
    let namespace = &scope.namespace;
    app.db
        .run("clear recording", async |mut tx| {
            if queues::peek(&mut tx, namespace, &name).await?.is_none() {
                return Err(unknown(&name));
            }
            recordings::clear(&mut tx, namespace, &name);
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
