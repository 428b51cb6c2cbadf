//! `GET /v1/queues`: the namespace's queues.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Page, Queue};

use super::standing;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::state;

/// List queues, by name
#[utoipa::path(get, path = "/v1/queues", tag = "queues", params(NamespaceParam, PageQuery),
    responses((status = 200, body = Page<Queue>)))]
pub(super) async fn list_queues(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Queue>>> {
    app.db
        .read("list queues", async |mut tx| {
            let rows = state::queues::list(&mut tx, &scope.namespace).await?;
            let (rows, next) = query.part(rows, |queue| queue.name.clone())?;
            let mut items = Vec::with_capacity(rows.len());
            for record in rows {
                items.push(standing(&mut tx, &record).await?);
            }
            Ok(Json(Page { items, next }))
        })
        .await
}
