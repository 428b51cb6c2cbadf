//! `GET /v1/tickets/{id}/explain`: why a ticket is not matched.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::TicketExplanation;
use muster_protocol::id::TicketMark;

use super::unknown;
use crate::api::auth::Holder;
use crate::api::extract::ApiId;
use crate::api::problem::ApiResult;
use crate::api::{NamespaceParam, view};
use crate::app::App;
use crate::{clock, tickets};

/// Explain a ticket
///
/// What its wait allows by now and when that relaxes, how many others each rule excludes, the best group so far, and
/// how long tickets matched lately had waited.
#[utoipa::path(get, path = "/v1/tickets/{id}/explain", tag = "tickets",
    params(NamespaceParam, ("id" = String, Path, description = "Ticket")),
    responses((status = 200, body = TicketExplanation)))]
pub(super) async fn explain_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    ApiId(id): ApiId<TicketMark>,
) -> ApiResult<Json<TicketExplanation>> {
    holder.allow(id)?;
    app.ticket_limits.explain(&holder.who, holder.address)?;
    let explained = tickets::explain(&app.db, &holder.namespace, id, clock::now_ms()).await?;
    Ok(Json(view::explanation(explained.ok_or_else(|| unknown(id))?)))
}
