//! `GET /v1/players/{port}`: where the player is whose UDP packets the server has from that port of the node.
//!
//! Over TCP and WebSocket the PROXY protocol says it; UDP packets have no room for that.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use muster_protocol::problem::{Problem, ProblemCode};
use serde::Serialize;

use super::SdkState;
use super::auth::Caller;
use super::problem::SdkProblem;

/// A player.
#[derive(Serialize)]
pub(super) struct PlayerView {
    /// Their own address and port, as the edge sees them now.
    address: SocketAddr,
}

/// `GET /v1/players/{port}`.
pub(super) async fn player(
    State(state): State<SdkState>,
    caller: Caller,
    port: Result<Path<u16>, PathRejection>,
) -> Result<Json<PlayerView>, SdkProblem> {
    let fix = "ask for the port that a packet of the player came from, as recvfrom says it";
    let Ok(Path(port)) = port else {
        return Err(Problem::new(ProblemCode::InvalidRequest, "that is no port", fix).into());
    };
    let route = state.routes.get(&caller.server).filter(|route| !route.is_published());
    let address = route.and_then(|route| route.player(port));
    let none =
        || Problem::new(ProblemCode::NotFound, format!("no player plays from port {port} of this node"), fix);
    Ok(Json(PlayerView { address: address.ok_or_else(none)? }))
}
