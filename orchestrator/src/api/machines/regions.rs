//! `GET /v1/regions`: where there are machines, and where to measure the latency to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Page, Region};

use crate::api::auth::{Client, Grant};
use crate::api::extract::ApiQuery;
use crate::api::page::{PageQuery, page};
use crate::api::problem::ApiResult;
use crate::api::view;
use crate::app::App;
use crate::state;

/// List regions, by name
///
/// A client measures its latency to the beacons and tells it with its ticket.
#[utoipa::path(get, path = "/v1/regions", tag = "machines", params(PageQuery),
    responses((status = 200, body = Page<Region>)))]
pub(super) async fn list_regions(
    State(app): State<Arc<App>>,
    _grant: Grant<Client>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Region>>> {
    let regions = app.db.read("list regions", async |mut tx| state::regions::list(&mut tx).await).await?;
    let part = query.part(regions.into_iter().collect(), |(name, _)| name.clone())?;
    Ok(Json(page(part, |(name, machines)| view::region(&name, &machines))))
}
