//! `GET /v1/tickets/{id}`: a ticket as it is, or once it has changed: a long poll on the store's watch.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{MAX_WAIT_S, Ticket, TicketQuery, TicketState};
use muster_protocol::id::TicketMark;
use tokio::time::{Instant, timeout_at};

use super::{tell, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::Holder;
use crate::api::connections::Room;
use crate::api::extract::{ApiId, ApiQuery};
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::{clock, tickets};

/// Longest wait of a long poll while connections are scarce.
const SCARCE_WAIT: Duration = Duration::from_secs(1);

/// Show a ticket, or wait until it changes
///
/// With `state` and `wait_s` the answer comes once the ticket is in another state, or the time is over.
/// Every answer of an assigned ticket has new session tokens.
#[utoipa::path(get, path = "/v1/tickets/{id}", tag = "tickets",
    params(NamespaceParam, TicketQuery, ("id" = String, Path, description = "Ticket")),
    responses((status = 200, body = Ticket)))]
pub(super) async fn show_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    room: Room,
    ApiId(id): ApiId<TicketMark>,
    ApiQuery(query): ApiQuery<TicketQuery>,
) -> ApiResult<Json<Ticket>> {
    holder.allow(id)?;
    let asked = Duration::from_secs(u64::from(query.wait_s.min(MAX_WAIT_S)));
    let deadline = Instant::now() + if room == Room::Scarce { asked.min(SCARCE_WAIT) } else { asked };
    loop {
        let now_ms = clock::now_ms();
        if query.wait_s == 0 || query.state.is_none() || Instant::now() >= deadline {
            let view = tickets::get(&app.db, &holder.namespace, id, now_ms).await?;
            return Ok(Json(tell(&app, view.ok_or_else(|| unknown(id))?, now_ms)?));
        }
        let watched = tickets::get_and_watch(&app.db, &holder.namespace, id, now_ms).await?;
        let (view, mut watch) = watched.ok_or_else(|| unknown(id))?;
        let state: TicketState = view.record.state().into();
        if state.is_final() || query.state != Some(state) {
            return Ok(Json(tell(&app, view, now_ms)?));
        }
        // Over time is no error: the next round answers with the ticket as it is then.
        if let Ok(changed) = timeout_at(deadline, watch.changed()).await {
            changed?;
        }
    }
}
