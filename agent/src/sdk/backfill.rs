//! `POST` and `DELETE /v1/backfill`: whether others may join the server's match while it has free seats.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use muster_protocol::agent::Backfill;
use muster_protocol::api::Priority;
use serde::Deserialize;

use super::SdkState;
use super::auth::Caller;
use super::problem::SdkProblem;
use crate::reconcile::SdkCall;

/// How much it is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackfillBody {
    #[serde(default)]
    priority: Priority,
}

/// `POST /v1/backfill`. Holds until the server says otherwise, and for a match that it has yet to be given too.
pub(super) async fn open(
    State(state): State<SdkState>,
    caller: Caller,
    body: Result<Json<BackfillBody>, JsonRejection>,
) -> Result<StatusCode, SdkProblem> {
    let backfill = match body?.0.priority {
        Priority::Low => Backfill::Low,
        Priority::Normal => Backfill::Normal,
        Priority::High => Backfill::High,
    };
    caller.say(&state, SdkCall::Backfill(backfill)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/backfill`. Whatever the fleet says.
pub(super) async fn close(State(state): State<SdkState>, caller: Caller) -> Result<StatusCode, SdkProblem> {
    caller.say(&state, SdkCall::Backfill(Backfill::Closed)).await?;
    Ok(StatusCode::NO_CONTENT)
}
