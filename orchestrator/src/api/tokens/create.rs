//! `POST /v1/tokens`: makes an API token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{ApiToken, ApiTokenRequest};

use super::too_many;
use crate::api::auth::{Admin, Grant, namespace_unknown};
use crate::api::extract::ApiJson;
use crate::api::problem::ApiResult;
use crate::api::{credentials, validate};
use crate::app::App;
use crate::state::tokens::MAX_TOKENS;
use crate::{clock, state};

/// Make an API token
///
/// The answer is the only place where the token's text is ever seen.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = ApiTokenRequest,
    responses((status = 200, body = ApiToken)))]
pub(super) async fn create_token(
    State(app): State<Arc<App>>,
    grant: Grant<Admin>,
    ApiJson(request): ApiJson<ApiTokenRequest>,
) -> ApiResult<Json<ApiToken>> {
    validate::api_token_request(&request)?;
    let namespace = request.namespace.as_deref();
    let (record, text) =
        credentials::mint(request.role, namespace, &request.name, request.ttl_s, clock::now_ms());
    app.db
        .run("create token", async |mut tx| {
            if let Some(namespace) = namespace
                && state::namespaces::load(&mut tx, namespace).await?.is_none()
            {
                return Err(namespace_unknown(namespace));
            }
            if state::tokens::list(&mut tx).await?.len() >= MAX_TOKENS {
                return Err(too_many("API", MAX_TOKENS));
            }
            state::tokens::save(&mut tx, &record);
            Ok(())
        })
        .await?;
    tracing::info!(
        token = %record.typed_id(), role = request.role.as_str(), namespace, by = %grant.caller.token,
        "API token made"
    );
    Ok(Json(credentials::view(&record, Some(text))))
}
