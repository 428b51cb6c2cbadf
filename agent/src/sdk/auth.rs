//! Who calls: the server whose token the request carries.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use muster_protocol::id::ServerId;
use muster_protocol::problem::{Problem, ProblemCode};
use tokio::sync::watch;

use super::SdkState;
use super::problem::SdkProblem;
use crate::reconcile::{Input, SdkCall, ServerView};

const FIX: &str = "send `Authorization: Bearer` with the value of MUSTER_SERVER_TOKEN";

/// An authenticated server.
pub(super) struct Caller {
    /// Which.
    pub(super) server: ServerId,
    /// What it is shown of itself.
    pub(super) view: watch::Receiver<ServerView>,
}

impl FromRequestParts<SdkState> for Caller {
    type Rejection = SdkProblem;

    async fn from_request_parts(parts: &mut Parts, state: &SdkState) -> Result<Self, SdkProblem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let Some(token) = token else {
            return Err(Problem::new(ProblemCode::TokenMissing, "the request carries no token", FIX).into());
        };
        let Some((server, view)) = state.registry.whose(token) else {
            let detail = "the token is of no server on this node";
            return Err(Problem::new(ProblemCode::TokenInvalid, detail, FIX).into());
        };
        Ok(Self { server, view })
    }
}

impl Caller {
    /// Passes `call` on. Waits while the agent is behind: that slows the caller down, not others.
    pub(super) async fn say(&self, state: &SdkState, call: SdkCall) -> Result<(), SdkProblem> {
        state.inputs.send(Input::Sdk(self.server, call)).await.map_err(|_| {
            let fix = "try again once it is up";
            Problem::new(ProblemCode::Internal, "the agent is shutting down", fix).retry_after(1).into()
        })
    }
}
