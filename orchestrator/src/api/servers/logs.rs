//! `GET /v1/servers/{id}/logs`: a server's output, live if asked.
//!
//! The bytes come from the server's agent as they arise and are passed on; nothing is kept. Readers are
//! bounded in number, and a slow one slows nothing but itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use muster_protocol::api::LogsQuery;
use muster_protocol::id::{NodeId, ServerMark};
use muster_protocol::problem::ProblemCode;

use super::find;
use crate::agents::logs::{self, LogsError};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiId, ApiQuery};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::metrics;
use crate::records::ServerRecord;

/// Most logs read at a time.
pub(super) const MAX_READERS: usize = 256;
/// Seconds after which a reader beyond the bound may come again.
const RETRY_S: u32 = 10;
/// Readers now; one count for the process, as connections are.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// A server's log
///
/// Plain text: what the container wrote to its standard output and error. With `follow` the answer goes on
/// until the server ends.
#[utoipa::path(get, path = "/v1/servers/{id}/logs", tag = "servers",
    params(NamespaceParam, LogsQuery, ("id" = String, Path, description = "Server")),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn server_logs(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiId(id): ApiId<ServerMark>,
    ApiQuery(query): ApiQuery<LogsQuery>,
) -> ApiResult<Response> {
    let record = app.db.read("server logs", async |mut tx| find(&mut tx, &scope.namespace, id).await).await?;
    let reader = Reader::enter()?;
    let Some(node) = record.node_id() else { return Err(never_started(&record)) };
    let body = match logs::read(&app, node, id, query.follow, query.tail).await {
        Ok(stream) => Body::from_stream(held(stream, reader)),
        Err(error) => match record.exit.filter(|exit| !exit.log_tail.is_empty()) {
            // The container is gone, but its last words are in the record.
            Some(exit) => Body::from(last_lines(&exit.log_tail, query.tail).to_owned()),
            None => return Err(refusal(node, error)),
        },
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// The last `count` lines of `text`.
fn last_lines(text: &str, count: u32) -> &str {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let Some(last) = count.checked_sub(1) else { return "" };
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.rmatch_indices('\n').nth(last).map_or(text, |(at, _)| &text[at + 1..])
}

fn never_started(record: &ServerRecord) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::ServerState,
        format!("the server has no log: it never got to a node ({})", record.detail),
        format!("see what it waits for with `muster server show {}`", record.typed_id()),
    )
}

fn refusal(node: NodeId, error: LogsError) -> ApiProblem {
    let detail = error.to_string();
    let reachable = format!("see whether the node {node} is connected: `muster node ls`");
    match error {
        LogsError::NotConnected(_) | LogsError::Link(_) => {
            ApiProblem::new(ProblemCode::NodeUnreachable, detail, reachable)
        }
        LogsError::Busy(_) => {
            ApiProblem::new(ProblemCode::TooMany, detail, "close another reader").retry_after(RETRY_S)
        }
        LogsError::Refused { .. } => ApiProblem::new(
            ProblemCode::ServerState,
            detail,
            "the container may not have started yet, or be gone: see `muster server show`",
        ),
    }
}

/// Counts one reader for as long as it lives.
struct Reader;

impl Reader {
    fn enter() -> ApiResult<Self> {
        let entered = READERS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < MAX_READERS).then_some(now + 1));
        match entered {
            Ok(before) => {
                metrics::api_log_streams(before + 1);
                Ok(Self)
            }
            Err(_) => Err(ApiProblem::new(
                ProblemCode::TooMany,
                format!("{MAX_READERS} logs are being read already"),
                "close another reader, or come again later",
            )
            .retry_after(RETRY_S)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        metrics::api_log_streams(READERS.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

fn held<S: Stream + Send>(stream: S, reader: Reader) -> impl Stream<Item = S::Item> + Send {
    stream.map(move |item| {
        // Moved in, so that the reader counts until the stream is dropped.
        let _reader = &reader;
        item
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last_ones() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\nb\n", 9), "a\nb\n");
        assert_eq!(last_lines("a\n", 0), "");
    }

    #[test]
    fn readers_beyond_the_bound_are_told_to_come_again() {
        let readers: Vec<Reader> = (0..MAX_READERS)
            .map(|_| Reader::enter().unwrap_or_else(|_| panic!("within the bound")))
            .collect();
        let problem = Reader::enter().err().expect("beyond the bound");
        assert_eq!(problem.code(), ProblemCode::TooMany);
        drop(readers);
        assert!(Reader::enter().is_ok());
    }
}
