//! What surrounds every request: a bound on how many run at once, a net under panics, metrics and a log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use muster_protocol::problem::ProblemCode;
use tokio::sync::Semaphore;

use super::connections::Room;
use super::problem::ApiProblem;
use crate::metrics;

/// Most requests that run at once, long polls included; further ones are told to come again.
pub(crate) const MAX_REQUESTS: usize = 32_768;
/// Seconds after which a request beyond the bound may come again.
const RETRY_BUSY_S: u32 = 1;
/// Route that metrics and logs show for a path that is none of ours.
const NO_ROUTE: &str = "none";

/// The bound on requests; one for all of a router.
pub(crate) fn request_bound() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_REQUESTS))
}

/// Runs the rest of the stack within the bound.
pub(crate) async fn around(
    State(bound): State<Arc<Semaphore>>,
    room: Room,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    // HTTP/2 has no such header, and many requests on one connection.
    let is_last = room == Room::Scarce && request.version() <= Version::HTTP_11;
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match bound.try_acquire() {
        // The permit is held until the answer is made, and a stream of logs has a bound of its own.
        Ok(_permit) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => ApiProblem::internal("the request met a fault in the orchestrator").into_response(),
        },
        Err(_) => ApiProblem::new(
            ProblemCode::TooMany,
            format!("{MAX_REQUESTS} requests are being answered already"),
            "come again a little later",
        )
        .retry_after(RETRY_BUSY_S)
        .into_response(),
    };
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let (status, took) = (response.status(), began.elapsed());
    metrics::api_request(&method, route, status.as_u16(), took);
    if status.is_server_error() {
        tracing::warn!(%method, route, status = status.as_u16(), ms = took.as_millis(), "request failed");
    } else {
        tracing::debug!(%method, route, status = status.as_u16(), ms = took.as_millis(), "request");
    }
    response
}
