//! `POST /v1/seats/connected`, `/v1/seats/disconnected` and `/v1/seats/released`: a player is there, gone for now, or gone
//! for good.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use muster_protocol::id::SeatId;
use muster_protocol::problem::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};

use super::SdkState;
use super::auth::Caller;
use super::problem::SdkProblem;
use crate::clock::now_ms;
use crate::reconcile::SdkCall;

/// Which seat: by its id, or by the session token that the player's client showed.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum SeatBody {
    /// Its id.
    Seat(String),
    /// The token.
    Token(String),
}

/// The seat, as the server may trust it.
#[derive(Serialize)]
pub(super) struct SeatAnswer {
    /// Its id.
    seat: SeatId,
    /// The player in it, as the studio's client named them.
    player: String,
}

/// `POST /v1/seats/connected`.
pub(super) async fn connected(
    State(state): State<SdkState>,
    caller: Caller,
    body: Result<Json<SeatBody>, JsonRejection>,
) -> Result<Json<SeatAnswer>, SdkProblem> {
    let answer = seat(&state, &caller, body?.0)?;
    // A token of theirs may still be valid; the seat is not theirs any more.
    if caller.view.borrow().closed_seats.contains(&answer.seat) {
        let detail = format!("{} was given up", answer.seat);
        let fix = "turn the player away; they have to ask for a match again";
        return Err(Problem::new(ProblemCode::Forbidden, detail, fix).into());
    }
    caller.say(&state, SdkCall::SeatConnected(answer.seat)).await?;
    Ok(Json(answer))
}

/// `POST /v1/seats/disconnected`.
pub(super) async fn disconnected(
    State(state): State<SdkState>,
    caller: Caller,
    body: Result<Json<SeatBody>, JsonRejection>,
) -> Result<Json<SeatAnswer>, SdkProblem> {
    let answer = seat(&state, &caller, body?.0)?;
    caller.say(&state, SdkCall::SeatDisconnected(answer.seat)).await?;
    Ok(Json(answer))
}

/// `POST /v1/seats/released`.
pub(super) async fn released(
    State(state): State<SdkState>,
    caller: Caller,
    body: Result<Json<SeatBody>, JsonRejection>,
) -> Result<Json<SeatAnswer>, SdkProblem> {
    let answer = seat(&state, &caller, body?.0)?;
    caller.say(&state, SdkCall::SeatReleased(answer.seat)).await?;
    Ok(Json(answer))
}

fn seat(state: &SdkState, caller: &Caller, body: SeatBody) -> Result<SeatAnswer, SdkProblem> {
    match body {
        SeatBody::Seat(text) => by_id(caller, &text),
        SeatBody::Token(token) => by_token(state, caller, &token),
    }
}

/// An id proves nothing: it has to be of a seat this server was told of.
fn by_id(caller: &Caller, text: &str) -> Result<SeatAnswer, SdkProblem> {
    let seat: SeatId = text.parse().map_err(|_| {
        Problem::new(ProblemCode::InvalidRequest, format!("{text:?} is no seat id"), "send an id as seat_…")
    })?;
    let view = caller.view.borrow();
    let known =
        view.allocation.as_ref().and_then(|match_| match_.seats.iter().find(|known| known.seat == text));
    if let Some(known) = known {
        return Ok(SeatAnswer { seat, player: known.player.clone() });
    }
    // Proven by its token before the allocation came, or given up since.
    if view.connected_seats.iter().any(|connected| connected == text) || view.closed_seats.contains(&seat) {
        return Ok(SeatAnswer { seat, player: String::new() });
    }
    let detail = format!("{seat} is no seat of this server");
    let fix = "send the player's session token as {\"token\": …} if the seat was sold a moment ago";
    Err(Problem::new(ProblemCode::ServerState, detail, fix).into())
}

/// A token is proof by itself, even if the news of the allocation has not come yet.
fn by_token(state: &SdkState, caller: &Caller, token: &str) -> Result<SeatAnswer, SdkProblem> {
    let verifier = state.keys.borrow().clone();
    let refuse = |detail: String| {
        let fix = "let the player ask for a match again: the new ticket carries a new token";
        SdkProblem::from(Problem::new(ProblemCode::Forbidden, detail, fix))
    };
    let claims =
        verifier.verify(token, now_ms()).map_err(|error| refuse(format!("session token: {error}")))?;
    if claims.server != caller.server {
        return Err(refuse(format!("session token: it is for {}, not for this server", claims.server)));
    }
    Ok(SeatAnswer { seat: claims.seat, player: claims.player })
}
