//! `/v1/tickets`: a player's request for a match, and waiting for it.

mod answer;
mod cancel;
mod create;
mod explain;
mod show;
mod watch;

use std::sync::Arc;

use muster_protocol::api::Ticket;
use muster_protocol::id::TicketId;
use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{ApiProblem, ApiResult};
use super::view;
use crate::app::App;
use crate::tickets::TicketView;
pub(crate) use create::{key_reused, made};

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create_ticket))
        .routes(routes!(show::show_ticket, cancel::cancel_ticket))
        .routes(routes!(watch::watch_ticket))
        .routes(routes!(explain::explain_ticket))
        .routes(routes!(answer::accept_ticket))
        .routes(routes!(answer::decline_ticket))
}

fn unknown(id: TicketId) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TicketUnknown,
        format!("there is no ticket {id} in the namespace, or it has been over for long"),
        "ask for a match again (POST /v1/tickets)",
    )
}

/// The ticket, with session tokens minted now.
fn tell(app: &App, ticket: TicketView, now_ms: u64) -> ApiResult<Ticket> {
    Ok(view::ticket(ticket, app.authority.signer(), now_ms, app.config.session_token_ttl_ms())?)
}
