//! The calls that carry nothing but who calls: ready, health, shutdown, and the view of oneself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::SdkState;
use super::auth::Caller;
use super::problem::SdkProblem;
use crate::reconcile::{SdkCall, ServerView};

/// `POST /v1/ready`: players may connect.
pub(super) async fn ready(State(state): State<SdkState>, caller: Caller) -> Result<StatusCode, SdkProblem> {
    caller.say(&state, SdkCall::Ready).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/health`: the server is alive. After the first, a silence as long as the fleet's health
/// timeout means that it hangs.
pub(super) async fn health(State(state): State<SdkState>, caller: Caller) -> Result<StatusCode, SdkProblem> {
    caller.say(&state, SdkCall::Health).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/shutdown`: the server is done and wants to be stopped.
pub(super) async fn shutdown(
    State(state): State<SdkState>,
    caller: Caller,
) -> Result<StatusCode, SdkProblem> {
    caller.say(&state, SdkCall::Shutdown).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/server`: the server as it is now.
pub(super) async fn server(
    State(state): State<SdkState>,
    caller: Caller,
) -> Result<Json<ServerView>, SdkProblem> {
    caller.say(&state, SdkCall::Used).await?;
    let view = caller.view.borrow().clone();
    Ok(Json(view))
}
