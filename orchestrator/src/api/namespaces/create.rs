//! `PUT /v1/namespaces/{game}/{environment}`: makes a namespace.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Namespace;
use muster_protocol::problem::ProblemCode;

use super::view;
use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiPath;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::validate;
use crate::app::App;
use crate::records::NamespaceRecord;
use crate::state::namespaces::MAX_NAMESPACES;
use crate::{clock, state};

/// What the namespaces of the installation's own workflows are named after.
const RESERVED_GAME: &str = "muster";

/// Make a namespace, if it is not there
#[utoipa::path(put, path = "/v1/namespaces/{game}/{environment}", tag = "namespaces",
    params(("game" = String, Path, description = "Game"), ("environment" = String, Path, description = "Environment")),
    responses((status = 200, body = Namespace)))]
pub(super) async fn create_namespace(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiPath((game, environment)): ApiPath<(String, String)>,
) -> ApiResult<Json<Namespace>> {
    let name = format!("{game}/{environment}");
    validate::namespace(&name)?;
    if game == RESERVED_GAME {
        return Err(ApiProblem::invalid_request(
            format!("namespaces of {RESERVED_GAME:?} are Muster's own"),
            "name the namespace after your game",
        ));
    }
    let fresh = NamespaceRecord { name, created_at_ms: clock::now_ms() };
    let record = app
        .db
        .run("create namespace", async |mut tx| {
            if let Some(before) = state::namespaces::load(&mut tx, &fresh.name).await? {
                return Ok(before);
            }
            if state::namespaces::list(&mut tx).await?.len() >= MAX_NAMESPACES {
                return Err(ApiProblem::new(
                    ProblemCode::TooMany,
                    format!("the installation has {MAX_NAMESPACES} namespaces already"),
                    "run another installation for further games",
                ));
            }
            state::namespaces::save(&mut tx, &fresh);
            Ok(fresh.clone())
        })
        .await?;
    Ok(Json(view(record)))
}
