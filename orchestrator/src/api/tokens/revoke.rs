//! `DELETE /v1/tokens/{id}`: revokes an API token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use muster_protocol::id::ApiTokenMark;
use muster_protocol::problem::ProblemCode;

use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiId;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::state;

/// Revoke an API token
///
/// It is refused from the next request on. A token does not revoke itself, so that one admin token is
/// always left.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Token")), responses((status = 204)))]
pub(super) async fn revoke_token(
    State(app): State<Arc<App>>,
    grant: Grant<Admin>,
    ApiId(id): ApiId<ApiTokenMark>,
) -> ApiResult<StatusCode> {
    if id == grant.caller.token {
        return Err(ApiProblem::new(
            ProblemCode::Forbidden,
            "a token does not revoke itself",
            "revoke it with another admin token: `muster token create --role admin`",
        ));
    }
    app.db
        .run("revoke token", async |mut tx| {
            if state::tokens::load(&mut tx, id).await?.is_none() {
                return Err(ApiProblem::new(
                    ProblemCode::ApiTokenUnknown,
                    format!("there is no API token {id}"),
                    "see `muster token ls`",
                ));
            }
            state::tokens::remove(&mut tx, id);
            Ok(())
        })
        .await?;
    tracing::info!(token = %id, by = %grant.caller.token, "API token revoked");
    Ok(StatusCode::NO_CONTENT)
}
