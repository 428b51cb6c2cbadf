//! `GET /v1/fleets/{name}`: a fleet and how it stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Fleet;

use super::{standing, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::{clock, state};

/// Show a fleet
#[utoipa::path(get, path = "/v1/fleets/{name}", tag = "fleets",
    params(NamespaceParam, ("name" = String, Path, description = "Fleet")),
    responses((status = 200, body = Fleet)))]
pub(super) async fn show_fleet(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Fleet>> {
    let now_ms = clock::now_ms();
    app.db
        .read("show fleet", async |mut tx| {
            let record = state::fleets::load(&mut tx, &scope.namespace, &name).await?;
            let record = record.ok_or_else(|| unknown(&name))?;
            Ok(Json(standing(&mut tx, &record, now_ms).await?))
        })
        .await
}
