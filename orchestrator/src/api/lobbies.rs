//! `/v1/lobbies`: matches that players choose.

mod create;
mod find;
mod join;
mod list;
mod show;

use std::sync::Arc;

use axum::Json;
use muster_protocol::api::Ticket;
use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::credentials::TicketSecret;
use super::problem::{ApiProblem, ApiResult};
use super::{fleets, servers, tickets};
use crate::app::App;
use crate::clock;
use crate::lobbies::{LobbyError, LobbyKey, RETRY_AFTER_S};
use crate::records::TicketRecord;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create_lobby, list::list_lobbies))
        .routes(routes!(find::find_lobby))
        .routes(routes!(show::show_lobby))
        .routes(routes!(join::join_lobby))
}

/// The lobby that a path names.
fn key(text: &str) -> ApiResult<LobbyKey> {
    LobbyKey::parse(text).ok_or_else(|| {
        ApiProblem::invalid_request(
            format!("{text:?} is neither a lobby's code nor its id"),
            "a code is six letters, an id begins with match_; both are in the lobby's ticket and list",
        )
    })
}

fn unknown(key: &LobbyKey) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::LobbyUnknown,
        LobbyError::Unknown(key.clone()).to_string(),
        "ask for the code again; private lobbies are not in the list (GET /v1/lobbies)",
    )
}

/// Answers with the ticket that came of asking for a seat.
pub(crate) async fn seated(
    app: &App,
    namespace: &str,
    secret: &TicketSecret,
    outcome: Result<TicketRecord, LobbyError>,
) -> ApiResult<Json<Ticket>> {
    let record = outcome.map_err(refusal)?;
    tickets::made(app, namespace, &record, secret, clock::now_ms()).await
}

/// As [`seated`], of a server that was joined by its id.
pub(crate) async fn seated_on_server(
    app: &App,
    namespace: &str,
    secret: &TicketSecret,
    outcome: Result<TicketRecord, LobbyError>,
) -> ApiResult<Json<Ticket>> {
    if let Err(error @ LobbyError::Full { .. }) = &outcome {
        let fix = "ask again once somebody has left, or join another";
        return Err(ApiProblem::new(ProblemCode::ServerFull, error.to_string(), fix));
    }
    seated(app, namespace, secret, outcome).await
}

fn refusal(error: LobbyError) -> ApiProblem {
    let detail = error.to_string();
    match error {
        LobbyError::UnknownFleet(fleet) => fleets::unknown(&fleet),
        LobbyError::NoLobbies(_) | LobbyError::NoDirectConnect(_) => ApiProblem::new(
            ProblemCode::FleetDisallows,
            detail,
            "change the fleet's file, `muster fleet apply -f FILE`; servers that run are not replaced for it",
        ),
        LobbyError::UnknownRegion { region, .. } => ApiProblem::new(
            ProblemCode::RegionUnserved,
            detail,
            format!("add {region} to the fleet's regions (`muster fleet apply -f FILE`), or ask for another"),
        ),
        LobbyError::TooFar { .. } => {
            ApiProblem::invalid_request(detail, "raise max_latency_ms, or leave it out")
        }
        LobbyError::TooMany { .. } => ApiProblem::invalid_request(
            detail,
            "come with fewer, or raise max_players (`muster fleet apply`)",
        ),
        LobbyError::NoCapacity { .. } => ApiProblem::new(
            ProblemCode::NoCapacity,
            detail,
            "ask again in a moment; `muster fleet ls` says what the fleet waits for",
        )
        .retry_after(RETRY_AFTER_S),
        LobbyError::Crowded => {
            ApiProblem::new(ProblemCode::TooMany, detail, "join one, or ask again once some are over")
                .retry_after(RETRY_AFTER_S)
        }
        LobbyError::Unknown(key) => unknown(&key),
        LobbyError::NoneFits(_) => ApiProblem::new(
            ProblemCode::LobbyUnknown,
            detail,
            "say `create` to make one then, ask for fewer tags or a larger max_latency_ms, or come in smaller parties",
        ),
        LobbyError::Full { .. } => ApiProblem::new(
            ProblemCode::LobbyFull,
            detail,
            "ask again once somebody has left, or join another",
        ),
        LobbyError::Closed(_) => ApiProblem::new(ProblemCode::LobbyClosed, detail, "join another"),
        LobbyError::Seated(player) => ApiProblem::new(
            ProblemCode::TicketState,
            detail,
            format!("join without {player}, or withdraw the ticket that {player} has first"),
        ),
        LobbyError::Held(_) => ApiProblem::new(
            ProblemCode::SeatHeld,
            detail,
            "show the token of the ticket that holds it (previous_tokens), have a backend ask, or join under another name",
        ),
        LobbyError::UnknownServer(server) => servers::unknown(server),
        LobbyError::ServerState { .. } => ApiProblem::new(
            ProblemCode::ServerState,
            detail,
            "join one that is ready, or that runs and has free seats",
        ),
        LobbyError::KeyUsed(_) => tickets::key_reused(detail),
        LobbyError::State(error) => error.into(),
    }
}
