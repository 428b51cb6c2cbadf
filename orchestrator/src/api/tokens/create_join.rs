//! `POST /v1/join-tokens`: makes a one-time token with which a machine joins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{JoinToken, JoinTokenRequest};

use super::too_many;
use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiJson;
use crate::api::problem::ApiResult;
use crate::api::validate;
use crate::app::App;
use crate::join::token::mint;
use crate::state::join_tokens::MAX_JOIN_TOKENS;
use crate::{clock, state};

/// How long a join token that was used or has expired is kept, so that its late bearer is told which, in
/// milliseconds.
const KEPT_MS: u64 = 86_400_000;

/// Make a join token
#[utoipa::path(post, path = "/v1/join-tokens", tag = "tokens", request_body = JoinTokenRequest,
    responses((status = 200, body = JoinToken)))]
pub(super) async fn create_join_token(
    State(app): State<Arc<App>>,
    grant: Grant<Admin>,
    ApiJson(request): ApiJson<JoinTokenRequest>,
) -> ApiResult<Json<JoinToken>> {
    validate::join_token_request(&request)?;
    let now_ms = clock::now_ms();
    let fingerprint = app.authority.fingerprint();
    let (record, token) = mint(request.role, &request.region, request.ttl_s, fingerprint, now_ms);
    app.db
        .run("create join token", async |mut tx| {
            let mut left = 0;
            for other in state::join_tokens::list(&mut tx).await? {
                if other.expires_at_ms.saturating_add(KEPT_MS) <= now_ms {
                    state::join_tokens::remove(&mut tx, other.typed_id());
                } else {
                    left += 1;
                }
            }
            if left >= MAX_JOIN_TOKENS {
                return Err(too_many("join", MAX_JOIN_TOKENS));
            }
            state::join_tokens::save(&mut tx, &record);
            Ok(())
        })
        .await?;
    tracing::info!(
        token = %record.typed_id(), role = request.role.as_str(), region = request.region,
        by = %grant.caller.token, "join token made"
    );
    Ok(Json(JoinToken {
        id: record.typed_id(),
        role: request.role,
        region: request.region,
        expires_at_ms: record.expires_at_ms,
        token: token.to_string(),
    }))
}
