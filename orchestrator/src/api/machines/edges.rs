//! `GET /v1/edges`: every edge.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Edge, Page};

use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::ApiResult;
use crate::api::view;
use crate::app::App;
use crate::{clock, state};

/// List edges, oldest first
#[utoipa::path(get, path = "/v1/edges", tag = "machines", params(PageQuery),
    responses((status = 200, body = Page<Edge>)))]
pub(super) async fn list_edges(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Edge>>> {
    app.db
        .read("list edges", async |mut tx| {
            let rows = state::edges::list(&mut tx).await?;
            let (rows, next) = query.part(rows, |edge| edge.typed_id().to_string())?;
            let mut items = Vec::with_capacity(rows.len());
            for record in rows {
                let id = record.typed_id();
                // A link that another replica has stands, or it would have been written off: silence ends it.
                let heard = match app.links.edge(id) {
                    Some(link) => Some((link.flows, link.last_seen_ms)),
                    None if record.connected => {
                        let flows = state::flows::of_edge(&mut tx, id).await?;
                        Some((flows.values().sum(), clock::now_ms()))
                    }
                    None => None,
                };
                items.push(view::edge(record, heard));
            }
            Ok(Json(Page { items, next }))
        })
        .await
}
