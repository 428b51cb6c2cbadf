//! `GET /v1/fleets`: the namespace's fleets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Fleet, Page};

use super::standing;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::{clock, state};

/// List fleets, by name
#[utoipa::path(get, path = "/v1/fleets", tag = "fleets", params(NamespaceParam, PageQuery),
    responses((status = 200, body = Page<Fleet>)))]
pub(super) async fn list_fleets(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Fleet>>> {
    let now_ms = clock::now_ms();
    app.db
        .read("list fleets", async |mut tx| {
            let rows = state::fleets::list(&mut tx, &scope.namespace).await?;
            let (rows, next) = query.part(rows, |fleet| fleet.name.clone())?;
            let mut items = Vec::with_capacity(rows.len());
            for record in rows {
                items.push(standing(&mut tx, &record, now_ms).await?);
            }
            Ok(Json(Page { items, next }))
        })
        .await
}
