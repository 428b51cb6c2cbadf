//! `GET /v1/edges`: every edge.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Edge, Page};

use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiQuery;
use crate::api::page::{PageQuery, page};
use crate::api::problem::ApiResult;
use crate::api::view;
use crate::app::App;
use crate::state;

/// List edges, oldest first
#[utoipa::path(get, path = "/v1/edges", tag = "machines", params(PageQuery),
    responses((status = 200, body = Page<Edge>)))]
pub(super) async fn list_edges(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Edge>>> {
    let rows = app.db.read("list edges", async |mut tx| state::edges::list(&mut tx).await).await?;
    let part = query.part(rows, |edge| edge.typed_id().to_string())?;
    Ok(Json(page(part, |record| {
        let link = app.links.edge(record.typed_id());
        view::edge(record, link.as_ref())
    })))
}
