//! `DELETE /v1/tickets/{id}`: withdraws a ticket.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use muster_protocol::id::TicketMark;
use muster_protocol::problem::ProblemCode;

use super::unknown;
use crate::api::NamespaceParam;
use crate::api::auth::Holder;
use crate::api::extract::ApiId;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::records::TicketState;
use crate::{clock, tickets};

/// Withdraw a ticket
///
/// If its match still waits for a server, the others of it search again. If it has its server, the seats of its players are
/// free, and the server is told.
#[utoipa::path(delete, path = "/v1/tickets/{id}", tag = "tickets",
    params(NamespaceParam, ("id" = String, Path, description = "Ticket")), responses((status = 204)))]
pub(super) async fn cancel_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    ApiId(id): ApiId<TicketMark>,
) -> ApiResult<StatusCode> {
    holder.allow(id)?;
    let record = tickets::cancel(&app.db, &holder.namespace, id, clock::now_ms()).await?;
    let record = record.ok_or_else(|| unknown(id))?;
    if record.state() == TicketState::Assigned {
        return Err(ApiProblem::new(
            ProblemCode::TicketState,
            format!("the match of ticket {id} is over"),
            "ask for another match; there is nothing left to withdraw from",
        ));
    }
    Ok(StatusCode::NO_CONTENT)
}
