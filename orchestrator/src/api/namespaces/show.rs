//! `GET /v1/namespaces/{game}/{environment}`: one namespace.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Namespace;

use super::view;
use crate::api::auth::{Admin, Grant, namespace_unknown};
use crate::api::extract::ApiPath;
use crate::api::problem::ApiResult;
use crate::api::validate;
use crate::app::App;
use crate::state;

/// Show a namespace
#[utoipa::path(get, path = "/v1/namespaces/{game}/{environment}", tag = "namespaces",
    params(("game" = String, Path, description = "Game"), ("environment" = String, Path, description = "Environment")),
    responses((status = 200, body = Namespace)))]
pub(super) async fn show_namespace(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiPath((game, environment)): ApiPath<(String, String)>,
) -> ApiResult<Json<Namespace>> {
    let name = format!("{game}/{environment}");
    validate::namespace(&name)?;
    let record =
        app.db.read("show namespace", async |mut tx| state::namespaces::load(&mut tx, &name).await).await?;
    record.map(|record| Json(view(record))).ok_or_else(|| namespace_unknown(&name))
}
