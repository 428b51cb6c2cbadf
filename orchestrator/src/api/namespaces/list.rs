//! `GET /v1/namespaces`: every namespace.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Namespace, Page};

use super::view;
use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiQuery;
use crate::api::page::{PageQuery, page};
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::state;

/// List namespaces
#[utoipa::path(get, path = "/v1/namespaces", tag = "namespaces", params(PageQuery),
    responses((status = 200, body = Page<Namespace>)))]
pub(super) async fn list_namespaces(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<Namespace>>> {
    let rows = app.db.read("list namespaces", async |mut tx| state::namespaces::list(&mut tx).await).await?;
    Ok(Json(page(query.part(rows, |namespace| namespace.name.clone())?, view)))
}
