//! `GET /v1/nodes`: every node.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Node, Page};

use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::ApiResult;
use crate::api::view;
use crate::app::App;
use crate::{clock, state};

/// List nodes, oldest first
#[utoipa::path(get, path = "/v1/nodes", tag = "machines", params(PageQuery),
    responses((status = 200, body = Page<Node>)))]
pub(super) async fn list_nodes(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Node>>> {
    app.db
        .read("list nodes", async |mut tx| {
            let rows = state::nodes::list(&mut tx).await?;
            let (rows, next) = query.part(rows, |node| node.typed_id().to_string())?;
            let mut items = Vec::with_capacity(rows.len());
            for record in rows {
                let id = record.typed_id();
                let promised = state::nodes::promised(&mut tx, id).await?;
                // A link that another replica has stands, or it would have been written off: silence ends it.
                let heard_ms = match app.links.agent(id) {
                    Some(link) => Some(link.last_seen_ms),
                    None => record.connected.then(clock::now_ms),
                };
                items.push(view::node(record, &promised, heard_ms));
            }
            Ok(Json(Page { items, next }))
        })
        .await
}
