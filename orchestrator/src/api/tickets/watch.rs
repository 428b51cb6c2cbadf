//! `GET /v1/tickets/{id}/watch`: a WebSocket that tells a ticket as it is, and again whenever it or its explanation
//! changes, until it is over. The ticket does not depend on it: it searches on when the socket breaks.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use muster_protocol::api::{Ticket, TicketState};
use muster_protocol::id::{TicketId, TicketMark};
use muster_protocol::problem::ProblemCode;
use tokio::time::timeout;

use super::{tell, unknown};
use crate::api::NamespaceParam;
use crate::api::auth::Holder;
use crate::api::connections::Room;
use crate::api::extract::ApiId;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::{clock, tickets};

/// Largest message a client may send: none is asked for.
const MAX_MESSAGE_BYTES: usize = 1024;
/// How often it is looked whether the explanation is another, and the client is pinged.
const LOOK: Duration = Duration::from_secs(5);
/// Seconds after which a client that could not watch may try again.
const RETRY_SCARCE_S: u32 = 5;
/// How long the client may take to accept a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Watch a ticket
///
/// A WebSocket: each message is the ticket as JSON, the first at once. It is closed once the ticket is over. A browser,
/// which cannot set headers, gives its token as `?token=`.
#[utoipa::path(get, path = "/v1/tickets/{id}/watch", tag = "tickets",
    params(NamespaceParam, ("id" = String, Path, description = "Ticket"),
        ("token" = Option<String>, Query, description = "The bearer token, instead of the header")),
    responses((status = 101, body = Ticket)))]
pub(super) async fn watch_ticket(
    State(app): State<Arc<App>>,
    holder: Holder,
    room: Room,
    ApiId(id): ApiId<TicketMark>,
    upgrade: WebSocketUpgrade,
) -> ApiResult<Response> {
    holder.allow(id)?;
    if room == Room::Scarce {
        let detail = "nearly all connections that the orchestrator takes are in use";
        return Err(ApiProblem::new(
            ProblemCode::TooMany,
            detail,
            "watch again a little later, or ask for the ticket",
        )
        .retry_after(RETRY_SCARCE_S));
    }
    let view = tickets::get(&app.db, &holder.namespace, id, clock::now_ms()).await?;
    view.ok_or_else(|| unknown(id))?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(async move |mut socket| {
        if let Err(error) = watch(&app, &holder.namespace, id, &mut socket).await {
            tracing::debug!(ticket = %id, ?error, "watch of a ticket ended");
        }
        // The client may be gone.
        let _ = timeout(SEND_TIMEOUT, socket.send(Message::Close(None))).await;
    }))
}

async fn watch(app: &App, namespace: &str, id: TicketId, socket: &mut WebSocket) -> Result<(), ApiProblem> {
    let mut told: Option<(TicketState, String)> = None;
    loop {
        let now_ms = clock::now_ms();
        let watched = tickets::get_and_watch(&app.db, namespace, id, now_ms).await?;
        let (view, mut changed) = watched.ok_or_else(|| unknown(id))?;
        let is_news = (view.record.state().into(), view.explanation.clone());
        let message = if told.as_ref() == Some(&is_news) {
            Message::Ping(Vec::new().into())
        } else {
            let ticket = tell(app, view, now_ms)?;
            let text =
                serde_json::to_string(&ticket).map_err(|error| ApiProblem::internal(error.to_string()))?;
            Message::Text(text.into())
        };
        if !matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(()))) {
            return Ok(());
        }
        if is_news.0.is_final() {
            return Ok(());
        }
        told = Some(is_news);
        let deadline = tokio::time::sleep(LOOK);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                outcome = changed.changed() => {
                    outcome?;
                    break;
                }
                () = &mut deadline => break,
                message = socket.recv() => match message {
                    // What clients say is of no concern; that they answer pings, or are gone, is.
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    Some(Ok(_)) => {}
                },
            }
        }
    }
}
