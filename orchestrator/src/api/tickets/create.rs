//! `POST /v1/tickets`: asks for a match.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use muster_protocol::api::{Ticket, TicketRequest};
use muster_protocol::problem::ProblemCode;

use super::{tell, unknown};
use crate::api::asking::Asking;
use crate::api::auth::{Client, Scope};
use crate::api::credentials::TicketSecret;
use crate::api::extract::ApiJson;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, queues, validate};
use crate::app::App;
use crate::clock;
use crate::records::TicketRecord;
use crate::tickets::{self, RETRY_AFTER_S, TicketError};

/// Ask for a match
///
/// Then wait for it with `GET /v1/tickets/{id}?state=searching&wait_s=30`, and so on until the ticket is
/// assigned.
#[utoipa::path(post, path = "/v1/tickets", tag = "tickets", params(NamespaceParam),
    request_body = TicketRequest, responses((status = 200, body = Ticket)))]
pub(super) async fn create_ticket(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiJson(request): ApiJson<TicketRequest>,
) -> ApiResult<Json<Ticket>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    validate::ticket_request(&request)?;
    let now_ms = clock::now_ms();
    let Asking { asker, secret } = Asking::new(&app, &scope, "ask for a match", &request);
    let namespace = &scope.namespace;
    let record = tickets::create(&app.db, namespace, &request, &asker, now_ms).await.map_err(refusal)?;
    made(&app, namespace, &record, &secret, now_ms).await
}

/// Answers with a ticket that was made for whoever is told its secret.
pub(crate) async fn made(
    app: &App,
    namespace: &str,
    record: &TicketRecord,
    secret: &TicketSecret,
    now_ms: u64,
) -> ApiResult<Json<Ticket>> {
    let id = record.typed_id();
    let view = tickets::get(&app.db, namespace, id, now_ms).await?.ok_or_else(|| unknown(id))?;
    let mut ticket = tell(app, view, now_ms)?;
    // The secret of a ticket that was made before is that of the request, as long as the installation has the same keys.
    ticket.token = (record.token_sha256 == secret.sha256()).then(|| secret.token(id));
    Ok(Json(ticket))
}

/// An idempotency key that another request was made with.
pub(crate) fn key_reused(detail: String) -> ApiProblem {
    let fix = "use a new idempotency_key for a new request; to send one again, send it as it was, with the same API token";
    ApiProblem::new(ProblemCode::IdempotencyKeyReused, detail, fix)
}

fn refusal(error: TicketError) -> ApiProblem {
    let detail = error.to_string();
    match error {
        TicketError::UnknownQueue(queue) => queues::unknown(&queue),
        TicketError::QueueFull(_) => {
            ApiProblem::new(ProblemCode::TooMany, detail, "ask again later").retry_after(RETRY_AFTER_S)
        }
        TicketError::Draining(_) => ApiProblem::new(
            ProblemCode::QueueDraining,
            detail,
            "ask in another queue, or again once this one is open",
        ),
        TicketError::KeyUsed(_) => key_reused(detail),
        TicketError::Misfit(_) | TicketError::Filter(_) => ApiProblem::invalid_request(
            detail,
            "mend what is named, by the queue's definition, and send it again",
        ),
        TicketError::State(error) => error.into(),
    }
}
