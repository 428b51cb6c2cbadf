//! `GET /v1/tokens`: every API token, without its text.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{ApiToken, Page};

use crate::api::auth::{Admin, Grant};
use crate::api::credentials;
use crate::api::extract::ApiQuery;
use crate::api::page::{PageQuery, page};
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::state;

/// List API tokens, oldest first
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<ApiToken>)))]
pub(super) async fn list_tokens(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Page<ApiToken>>> {
    let rows = app.db.read("list tokens", async |mut tx| state::tokens::list(&mut tx).await).await?;
    let part = query.part(rows, |record| record.typed_id().to_string())?;
    Ok(Json(page(part, |record| credentials::view(&record, None))))
}
