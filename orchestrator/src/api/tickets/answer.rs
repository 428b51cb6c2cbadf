//! `POST /v1/tickets/{id}/accept` and `/decline`: what players answer to the match that was found for them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::Ticket;
use muster_protocol::id::{TicketId, TicketMark};
use muster_protocol::problem::ProblemCode;

use super::{tell, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::Holder;
use crate::api::extract::ApiId;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::matchmaking::Answer;
use crate::{clock, tickets};

/// Accept a match
///
/// In a queue with `accept_s`. Once every ticket of the match has accepted, it gets its server. Accepting again changes
/// nothing.
#[utoipa::path(post, path = "/v1/tickets/{id}/accept", tag = "tickets",
    params(NamespaceParam, ("id" = String, Path, description = "Ticket")), responses((status = 200, body = Ticket)))]
pub(super) async fn accept_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    ApiId(id): ApiId<TicketMark>,
) -> ApiResult<Json<Ticket>> {
    answer(&app, &holder, id, Answer::Accept).await
}

/// Decline a match
///
/// In a queue with `accept_s`. The ticket is cancelled; the others of the match search on with the wait they had.
#[utoipa::path(post, path = "/v1/tickets/{id}/decline", tag = "tickets",
    params(NamespaceParam, ("id" = String, Path, description = "Ticket")), responses((status = 200, body = Ticket)))]
pub(super) async fn decline_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    ApiId(id): ApiId<TicketMark>,
) -> ApiResult<Json<Ticket>> {
    answer(&app, &holder, id, Answer::Decline).await
}

async fn answer(app: &App, holder: &Holder, id: TicketId, answer: Answer) -> ApiResult<Json<Ticket>> {
    holder.allow(id)?;
    let (namespace, now_ms) = (&holder.namespace, clock::now_ms());
    let answered = tickets::answer(&app.db, namespace, id, answer, now_ms).await?;
    let view = tickets::get(&app.db, namespace, id, now_ms).await?.ok_or_else(|| unknown(id))?;
    if answered.is_none() {
        return Err(ApiProblem::new(
            ProblemCode::TicketState,
            format!("the ticket {id} has no match that waits for an answer: {}", view.explanation),
            "answer while the ticket has `accept_by_ms`",
        ));
    }
    Ok(Json(tell(app, view, now_ms)?))
}
