//! The SDK endpoint: what a game server inside its container says to Muster, and hears.
//!
//! HTTP with JSON on the containers' gateway, one bearer token per server. It authenticates, translates
//! and passes on; what a call means for the server is decided in `reconcile`.

mod auth;
mod backfill;
mod calls;
mod endpoint;
mod events;
mod listener;
mod lobby;
mod players;
mod problem;
mod registry;
mod seats;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use muster_protocol::token::TokenVerifier;
use tokio::sync::{mpsc, watch};

use crate::reconcile::Input;
use crate::routes::Routes;

pub(crate) use endpoint::Endpoint;
pub(crate) use registry::Registry;

/// Longest request body, in bytes: a session token and some JSON around it.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What every call can see.
#[derive(Clone)]
pub(crate) struct SdkState {
    /// Which token is whose.
    pub(crate) registry: Arc<Registry>,
    /// Keys that session tokens are checked with.
    pub(crate) keys: watch::Receiver<Arc<TokenVerifier>>,
    /// Whose players are where.
    pub(crate) routes: Arc<Routes>,
    /// Where calls go.
    pub(crate) inputs: mpsc::Sender<Input>,
}

fn router(state: SdkState) -> Router {
    Router::new()
        .route("/v1/ready", post(calls::ready))
        .route("/v1/health", post(calls::health))
        .route("/v1/shutdown", post(calls::shutdown))
        .route("/v1/server", get(calls::server))
        .route("/v1/seats/connected", post(seats::connected))
        .route("/v1/seats/disconnected", post(seats::disconnected))
        .route("/v1/seats/released", post(seats::released))
        .route("/v1/players/{port}", get(players::player))
        .route("/v1/backfill", post(backfill::open).delete(backfill::close))
        .route("/v1/lobby", put(lobby::lobby))
        .route("/v1/events", get(events::events))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::map_response(problem::count))
        .with_state(state)
}
